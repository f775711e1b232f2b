import CLinux
import MartletLogging
import MartletNet
import MartletServer
import MartletSettings
import Testing

private func configuration(_ options: [(String, String, [String])] = [], sets: [String] = [], environment: [String: String] = [:]) throws(SettingsMisuse)
    -> ServerConfiguration
{
    var sources = ServerConfiguration.Sources()
    sources.options = options.map { .init($0.0, sets: $0.1, $0.2) }
    sources.assignments = sets
    sources.environment = environment
    return try ServerConfiguration(sources)
}

private func refusal(_ options: [(String, String, [String])] = [], sets: [String] = [], environment: [String: String] = [:]) -> String {
    do {
        _ = try configuration(options, sets: sets, environment: environment)
        return "accepted"
    } catch { return error.description }
}

private func refusal(listener: String) -> String {
    do { return try "accepted \(ListenerURL(parsing: listener))" } catch { return error.description }
}

@Suite struct ServerConfigurationTests {
    @Test func `nothing said means loopback, a journal here and nobody from outside`() throws {
        let configuration = try configuration()
        #expect(configuration == ServerConfiguration())
        #expect(configuration.listeners.map(\.description) == ["mqtt://127.0.0.1:1883", "amqp://127.0.0.1:5672", "http://127.0.0.1:8080"])
        #expect(configuration.storage == .directory("./martlet-data", JournalSettings()))
        #expect(configuration.loops == Int(cl_cpu_count()))
        #expect(configuration.grace == .seconds(10))
        #expect(configuration.mqtt.connectTimeout == .seconds(10))
        #expect(configuration.acceptsAnonymous)
    }

    @Test func `every key arrives`() throws {
        let configuration = try configuration(
            [
                ("--listen", "listen", ["mqtt://[::1]:0", "mqtt+unix:///run/m.sock"]), ("--user", "users", ["a:b:c", "d:e"]), ("--loops", "loops", ["4"]),
                ("--log-level", "logLevel", ["debug"]), ("--grace", "grace", ["500ms"]), ("--data", "data", ["none"]),
            ],
            sets: [
                "mqtt.packetSizeMax=2MiB", "mqtt.connectTimeout=1s", "mqtt.receiveMaximum=7", "mqtt.queueMessagesMax=8", "mqtt.queueBytesMax=1KiB",
                "mqtt.outputBytesMax=64KiB", "mqtt.sessionExpiryMax=1h", "allowAnonymous=true",
            ])
        var expected = ServerConfiguration()
        expected.listeners = [ListenerURL(.mqtt, .tcp(host: "::1", port: 0)), ListenerURL(.mqtt, .unix(path: "/run/m.sock"))]
        expected.users = [.init(name: "a", password: "b:c"), .init(name: "d", password: "e")]
        (expected.loops, expected.logLevel, expected.grace, expected.allowAnonymous) = (4, .debug, .milliseconds(500), true)
        expected.mqtt.packetSizeMax = 2 << 20
        expected.mqtt.connectTimeout = .seconds(1)
        expected.mqtt.receiveMaximum = 7
        expected.mqtt.queueMessagesMax = 8
        expected.mqtt.queueBytesMax = 1024
        expected.mqtt.outputBytesMax = 65_536
        expected.mqtt.sessionExpiryMax = .seconds(3600)
        expected.storage = .memory
        #expect(configuration == expected)
    }

    @Test func `the environment names the same keys`() throws {
        let configuration = try configuration(environment: ["MARTLET_MQTT_PACKETSIZEMAX": "2KiB", "MARTLET_LOG_LEVEL": "error"])
        #expect(configuration.mqtt.packetSizeMax == 2048)
        #expect(configuration.logLevel == .error)
    }

    @Test(arguments: ["mqtt://0.0.0.0:1883", "mqtt://[::]:1883", "mqtt://192.168.0.7:1883", "mqtt://127.example.org:1883", "mqtt://host"])
    func `a listener that others can reach needs users or permission`(url: String) throws {
        #expect(refusal([("--listen", "listen", [url])]).contains("can be reached from other machines and there are no users"))
        _ = try configuration([("--listen", "listen", [url]), ("--user", "users", ["a:b"])])
        _ = try configuration([("--listen", "listen", [url])], sets: ["allowAnonymous=true"])
    }

    @Test(arguments: ["mqtt://127.0.0.1", "mqtt://127.9.9.9:1", "mqtt://localhost:1883", "mqtt://[::1]:1", "mqtt+unix:///tmp/x"])
    func `loopback needs no users`(url: String) throws { _ = try configuration([("--listen", "listen", [url])]) }

    @Test func `a directory is a journal with its settings, none is memory`() throws {
        #expect(try configuration([("--data", "data", ["none"])], sets: ["journal.sync=never"]).storage == .memory)
        #expect(try configuration([("--data", "data", ["./d"])]).storage == .directory("./d", JournalSettings()))
        var journal = JournalSettings()
        (journal.sync, journal.syncInterval, journal.segmentBytes) = (.interval, .milliseconds(200), 64 << 20)
        journal.gatherTime = .zero
        let sets = ["journal.sync=interval", "journal.syncInterval=200ms", "journal.gatherTime=0ms", "journal.segmentBytes=64MiB"]
        #expect(try configuration(sets: ["data=/var/lib/martlet"] + sets).storage == .directory("/var/lib/martlet", journal))
        #expect(refusal([("--data", "data", [""])]) == "--data: the name of the directory is empty; `none` keeps everything in memory")
        #expect(refusal(sets: ["journal.sync=often"]).hasSuffix("\"often\" is not one of always, interval, never"))
        #expect(refusal(sets: ["journal.segmentBytes=1MiB"]).contains("is not a size from 4MiB to 1GiB"))
        #expect(refusal(sets: ["journal.syncInterval=0s"]).contains("is not a duration from 1ms to 1h"))
    }

    @Test func `what is promised is said in plain words`() {
        func promise(_ sync: JournalSettings.Sync) -> String {
            var journal = JournalSettings()
            journal.sync = sync
            return "\(ServerConfiguration.Storage.directory("./d", journal))"
        }
        #expect("\(ServerConfiguration.Storage.memory)" == "everything is kept in memory; nothing survives the end of this process")
        #expect(promise(.always) == "./d; acknowledged means on disk (fdatasync)")
        #expect(promise(.interval) == "./d; acknowledged means written; synced every 1s: a power cut may lose what is younger")
        #expect(promise(.never) == "./d; acknowledged means written; the system decides when it is on disk: a power cut may lose acknowledged messages")
    }

    @Test func `memory is a size, by default two fifths of the machine's`() throws {
        #expect(try configuration(sets: ["memory=256MB"]).memory == 256_000_000)
        let initial = try configuration().memory
        #expect(initial.isMultiple(of: 1 << 20) && initial >= 64 << 20 && initial <= max(64 << 20, MachineMemory.bytes / 5 * 2))
        #expect(refusal(sets: ["memory=40%"]).contains("is not a size from 1MiB"))
    }

    @Test func `users are whole, unique and never shown`() throws {
        for bad in ["alice", ":secret", "alice:"] {
            #expect(refusal([("--user", "users", [bad])]) == "--user: a user is written NAME:PASSWORD, neither of them empty")
        }
        #expect(refusal([("--user", "users", ["a:1", "a:2"])]) == "--user: the user \"a\" is named twice")
        #expect("\(ServerConfiguration.User(name: "alice", password: "secret"))" == "alice")
        #expect(try !configuration([("--user", "users", ["a:1"])]).acceptsAnonymous)
    }

    @Test func `pages' origins are written as browsers write them`() throws {
        let configuration = try configuration(sets: ["websocket.origins=https://example.org,http://a:8080,*", "websocket.pingInterval=0s"])
        #expect(configuration.webSocket.origins == ["https://example.org", "http://a:8080", "*"])
        #expect(configuration.webSocket.pingInterval == .zero)
        for bad in ["example.org", "https://example.org/", "https://example.org/chat", "://a", "https://*.example.org"] {
            #expect(refusal(sets: ["websocket.origins=\(bad)"]).contains("\"\(bad)\" is not an origin such as https://example.org"))
        }
    }

    @Test func `certificates are read when the configuration is`() {
        #expect(
            refusal([("--listen", "listen", ["mqtts://127.0.0.1?cert=/no/such.pem&key=b"])])
                == "--listen: mqtts: cannot read the certificate /no/such.pem: no such file or directory")
    }

    @Test func `two listeners on one place are refused, on free ports allowed`() throws {
        #expect(refusal([("--listen", "listen", ["mqtt://127.0.0.1:1", "mqtt://127.0.0.1:1"])]).contains("two listeners share mqtt://127.0.0.1:1"))
        _ = try configuration([("--listen", "listen", ["mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0"])])
    }

    @Test func `an unknown key names the nearest`() {
        #expect(refusal(sets: ["mqtt.packetSize=1"]) == "--set: unknown key \"mqtt.packetSize\"; did you mean \"mqtt.packetSizeMax\"?")
        #expect(refusal(sets: ["log-level=info"]) == "--set: unknown key \"log-level\"; did you mean \"logLevel\"?")
    }

    @Test(arguments: [
        ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883"), ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"), ("mqtt://[::1]:1883", "mqtt://[::1]:1883"),
        ("mqtt://[::1]", "mqtt://[::1]:1883"), ("mqtt://0.0.0.0:0/", "mqtt://0.0.0.0:0"), ("mqtt://localhost:65535", "mqtt://localhost:65535"),
        ("mqtt+unix:///run/martlet.sock", "mqtt+unix:///run/martlet.sock"),
    ])
    func `listeners read and print`(text: String, printed: String) { #expect(refusal(listener: text) == "accepted \(printed)") }

    @Test(arguments: [
        ("127.0.0.1:1883", "is not a listener's URL"), ("mqt://127.0.0.1", "unknown scheme; did you mean \"mqtt\"?"), ("gopher://x", "unknown scheme"),
        ("zmq://127.0.0.1", "this build does not serve zmq yet, only mqtt, mqtts, amqp, amqps, http, https"),
        ("mqtts://127.0.0.1", "needs a certificate and its key"),
        ("mqtts://127.0.0.1?cert=a", "needs a certificate and its key"), ("mqtts://127.0.0.1?cert=a&key=b&verify=required", "add ca=FILE"),
        ("mqtts://127.0.0.1?cert=a&key=b&ca=c&verify=maybe", "verify is required or optional"),
        ("mqtt://:1883", "names no address"), ("mqtt://*:1883", "neither a name nor an address"), ("mqtt://a:b@c", "port that is not a number"),
        ("mqtt://x:65536", "port that is not a number"), ("mqtt://x:-1", "port that is not a number"), ("mqtt://x:", "port that is not a number"),
        ("mqtt://[::1", "neither a name"), ("mqtt://[::1]1883", "something other than a port"), ("mqtt://[x]:1", "no IPv6 address"),
        ("mqtt://::1", "names no address"), ("mqtt://127.0.0.1?cert=x", "unknown option \"cert\""), ("mqtt://h/path", "neither a name"),
        ("mqtt+unix://run/x", "absolute path"), ("mqtt+unix://", "absolute path"), ("mqtt+unix:///" + String(repeating: "x", count: 107), "107 bytes"),
        ("", "is not a listener's URL"), ("mqtt://", "names no address"),
    ])
    func `a bad listener is one clear sentence`(text: String, part: String) {
        #expect(refusal(listener: text).contains(part), "\(refusal(listener: text))")
    }
}
