import MartletLogging
import MartletMQTT
import MartletMQTTProtocol
import Testing

@testable import martlet

private func publish(_ words: String...) throws(CommandFailure) -> MQTTPublishOptions {
    try MQTTPublishOptions(Arguments(words, for: MQTTCommands.publish))
}
private func subscribe(_ words: String...) throws(CommandFailure) -> MQTTSubscribeOptions {
    try MQTTSubscribeOptions(Arguments(words, for: MQTTCommands.subscribe))
}
/// The sentence of a refusal; every one must have the code of wrong usage.
private func refusal(_ body: () throws(CommandFailure) -> Void) -> String {
    do throws(CommandFailure) {
        try body()
        return "accepted"
    } catch { return error.code == ExitCode.usage ? error.sentence : "code \(error.code)" }
}
private func refusal(publish words: String...) -> String {
    refusal { () throws(CommandFailure) in _ = try MQTTPublishOptions(Arguments(words, for: MQTTCommands.publish)) }
}
private func refusal(subscribe words: String...) -> String {
    refusal { () throws(CommandFailure) in _ = try MQTTSubscribeOptions(Arguments(words, for: MQTTCommands.subscribe)) }
}

@Suite struct MQTTOptionsTests {
    @Test func `the least that publishes has mosquitto's defaults`() throws {
        let options = try publish("-t", "a/b", "-m", "21.5")
        #expect(options.topic == "a/b")
        #expect(options.source == .text("21.5"))
        #expect(options.qos == .atMostOnce && !options.retain)
        #expect(options.connection == MQTTConnectionOptions())
        #expect(options.connection.host == "localhost")
        #expect(options.connection.port == 1883)
        #expect(options.connection.keepAliveSeconds == 60)
        #expect(options.connection.cleanSession)
        #expect(options.connection.version == .v3_1_1)
    }

    @Test func `every flag of a connection arrives`() throws {
        var expected = MQTTConnectionOptions()
        (expected.host, expected.port, expected.clientID, expected.username, expected.password) = ("::1", 1999, "panel", "u", "p:w")
        (expected.keepAliveSeconds, expected.cleanSession, expected.version, expected.isDebug, expected.isQuiet) = (7, false, .v5, true, true)
        let short = try subscribe(
            "-h", "::1", "-p", "1999", "-i", "panel", "-u", "u", "-P", "p:w", "-k", "7", "-c", "-V", "mqttv5", "-d", "--quiet", "-t", "a")
        let long = try subscribe(
            "--host=::1", "--port=1999", "--id=panel", "--username=u", "--pw=p:w", "--keepalive=7", "--disable-clean-session", "--protocol-version=5",
            "--debug", "--quiet", "--topic=a")
        #expect(short.connection == expected)
        #expect(long.connection == expected)
    }

    @Test func `each source of messages`() throws {
        #expect(try publish("-t", "a", "-m", "").source == .text(""))
        #expect(try publish("-t", "a", "-f", "x.bin").source == .file(path: "x.bin"))
        #expect(try publish("-t", "a", "-l").source == .lines)
        #expect(try publish("-t", "a", "-s").source == .standardInput)
        #expect(try publish("-t", "a", "-n", "-q", "2").source == .empty)
        #expect(refusal(publish: "-t", "a") == "mqtt pub: say exactly one of -m TEXT, -f FILE, -l, -s and -n")
        #expect(refusal(publish: "-t", "a", "-l", "-n") == "mqtt pub: say exactly one of -m TEXT, -f FILE, -l, -s and -n")
    }

    @Test func `a subscription's flags arrive`() throws {
        let options = try subscribe("-t", "a/+", "-t", "#", "-q", "1", "-v", "-C", "3", "-W", "5")
        #expect(options.topicFilters == ["a/+", "#"])
        #expect(options.qos == .atLeastOnce)
        #expect(options.print.format == .topicAndPayload)
        #expect(options.messageCountMax == 3)
        #expect(options.print.timeout == .seconds(5))
        let least = try subscribe("-t", "a")
        #expect(least.print.format == .payload && least.messageCountMax == nil && least.print.timeout == nil && least.qos == .atMostOnce)
    }

    @Test func `a URL says server, credentials and topic at once`() throws {
        let options = try publish("-L", "mqtt://me%40home:s%3Acret@[::1]:1884/a/b%2Fc", "-n")
        #expect(options.connection.host == "::1")
        #expect(options.connection.port == 1884)
        #expect(options.connection.username == "me@home")
        #expect(options.connection.password == "s:cret")
        #expect(options.topic == "a/b%2Fc")
        #expect(try subscribe("-L", "mqtt://h/x", "-t", "y").topicFilters == ["x", "y"])
        #expect(try subscribe("-L", "mqtt://h", "-t", "y").connection.port == 1883)
        #expect(try subscribe("-L", "mqtt://u@h/x").connection.username == "u")
        #expect(try subscribe("-L", "mqtt://u:p@h/x", "-u", "other").connection.username == "other")
    }

    @Test func `what cannot be is refused with one sentence`() {
        #expect(refusal(publish: "-m", "x") == "mqtt pub: a topic is missing: add -t TOPIC")
        #expect(refusal(publish: "-t", "a/#", "-m", "x").contains("has a wildcard"))
        #expect(refusal(publish: "-t", "a", "-L", "mqtt://h/b", "-n").contains("leave one out"))
        #expect(refusal(publish: "-t", "a", "-n", "-q", "3") == "-q 3: not a whole number from 0 to 2")
        #expect(refusal(subscribe: "-v") == "mqtt sub: a topic filter is missing: add -t FILTER")
        #expect(refusal(subscribe: "-t", "") == "mqtt sub: a topic filter is missing: add -t FILTER")
        #expect(refusal(subscribe: "-t", "a", "-C", "0").contains("-C 0: not a whole number from 1"))
        #expect(refusal(subscribe: "-t", "a", "-p", "0").contains("-p 0: not a whole number from 1 to 65535"))
        #expect(refusal(subscribe: "-t", "a", "-h", "") == "-h: the host is empty")
        #expect(refusal(subscribe: "-t", "a", "-V", "4") == "-V 4: the versions are 5, 311 and 31")
        #expect(refusal(subscribe: "-t", "a", "-V", "311", "-D", "connect", "receive-maximum", "5").contains("leave out -V 311"))
        #expect(refusal(subscribe: "-t", "a", "-D", "connect", "user-property", "x").contains("-D needs more words"))
        #expect(refusal(publish: "-t", "a", "-n", "-D", "publish", "nonsense", "x").contains("no such property"))
        #expect(refusal(subscribe: "-t", "a", "--will-qos", "1").contains("add --will-topic"))
        #expect(refusal(subscribe: "-t", "a", "-F", "%z").contains("%z is unknown"))
        #expect(refusal(subscribe: "-t", "a", "--ws", "-L", "mqtt://a").contains("write ws:// or wss://"))
        #expect(refusal(subscribe: "-t", "a", "-L", "ws://a/mqtt", "--cafile", "x").contains("write wss://"))
        #expect(refusal(subscribe: "-t", "a", "--cert", "x") == "--cert needs its --key")
        #expect(refusal(subscribe: "-t", "a", "--key", "x") == "--key needs its --cert")
        #expect(refusal(subscribe: "-t", "a", "--cafile", "x", "--capath", "y").hasPrefix("--cafile and --capath"))
        #expect(refusal(subscribe: "-t", "a", "--tls-version", "tlsv1.1").contains("the versions are tlsv1.2 and tlsv1.3"))
        #expect(refusal(subscribe: "-L", "mqtt://a/b", "--cafile", "x").contains("write mqtts://"))
        #expect(refusal(subscribe: "-t", "a", "-c").contains("add -i ID"))
        #expect(refusal(subscribe: "-t", "a", "-P", "x").contains("[MQTT-3.1.2-22]"))
        #expect(refusal(subscribe: "-t", "a", "-P", "x", "-V", "5") == "accepted")
    }

    @Test("WebSocket is asked for by its flag and by ws://, and takes HTTP's ports") func webSocket() throws {
        func parsed(_ words: String...) throws -> MQTTConnectionOptions {
            try MQTTConnectionOptions.parse(Arguments(words, for: MQTTCommands.subscribe)).options
        }
        let plain = try parsed("--ws"), secure = try parsed("--ws", "--insecure"), url = try parsed("-L", "wss://me:x@a/b/c?d"),
            path = try parsed("-L", "ws://a:9")
        #expect((plain.host, plain.port, plain.webSocketPath) == ("localhost", 8080, "/mqtt"))
        #expect((secure.port, secure.webSocketPath) == (8443, "/mqtt"))
        #expect((url.host, url.port, url.username, url.webSocketPath, url.tls) == ("a", 443, "me", "/b/c?d", TLSClientOptions()))
        #expect((path.port, path.webSocketPath, path.tls) == (9, "/mqtt", nil))
        #expect(try parsed("--ws", "-p", "80").port == 80)
        #expect(try parsed("-h", "a").webSocketPath == nil)
    }

    @Test("TLS is asked for by its flags, by mqtts:// and by port 8883, and takes that port") func tls() throws {
        func parsed(_ words: String...) throws -> MQTTConnectionOptions {
            try MQTTConnectionOptions.parse(Arguments(words, for: MQTTCommands.subscribe)).options
        }
        #expect(try parsed("-h", "a").tls == nil)
        #expect(try parsed("-h", "a", "-p", "8883").tls == TLSClientOptions())
        #expect(try parsed("-L", "mqtts://a/t").port == 8883)
        #expect(try parsed("-L", "mqtts://a:9/t").port == 9)
        #expect(try parsed("-L", "mqtts://a:9/t").tls?.trust == .system)
        let full = try parsed("--cafile", "ca", "--cert", "c", "--key", "k", "--tls-version", "tlsv1.2", "--tls-alpn", "mqtt")
        #expect(full.port == 8883)
        #expect(full.tls?.trust == .file("ca"))
        #expect(full.tls?.identity == TLSIdentity(certificate: "c", key: "k"))
        #expect(full.tls?.maximumVersion == .tls12)
        #expect(full.tls?.applicationProtocols == ["mqtt"])
        #expect(try parsed("--capath", "d", "-p", "1").tls?.trust == .directory("d"))
        #expect(try parsed("--capath", "d", "-p", "1").port == 1)
        #expect(try parsed("--insecure").tls?.trust == TLSClientOptions.Trust.none)
        #expect(try parsed("--insecure", "--cafile", "ca").tls?.trust == .file("ca"))
        #expect(try parsed("--insecure", "--cafile", "ca").tls?.checksServerName == false)
    }

    @Test(arguments: [
        "http://h/t", "mqtt:///t", "mqtt://h:0/t", "mqtt://h:x/t", "mqtt://h:/t", "mqtt://[::1]9/t", "mqtt://%zz@h/t", "mqtt://%+1@h/t", "mqtt://%f@h/t",
        "mqtt://%ff@h/t",
    ])
    func `a bad URL is refused`(url: String) { #expect(refusal(subscribe: "-L", url).hasPrefix("-L")) }

    @Test func `properties, wills and session expiry arrive`() throws {
        let options = try publish(
            "-t", "a", "-n", "-r", "-q", "2", "-i", "x", "-c", "-x", "60", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain",
            "-D", "PUBLISH", "user-property", "a", "1", "-D", "publish", "user-property", "a", "2", "-D", "publish", "content-type", "text/plain",
            "-D", "will", "will-delay-interval", "5", "-D", "connect", "receive-maximum", "7", "-D", "will", "payload-format-indicator", "1")
        #expect(options.qos == .exactlyOnce && options.retain)
        let connection = options.connection
        #expect(connection.version == .v5)
        #expect(connection.properties.publish.userProperties == [MQTTUserProperty("a", "1"), MQTTUserProperty("a", "2")])
        #expect(connection.properties.publish.contentType == "text/plain")
        var properties = MQTTProperties()
        properties.isText = true
        let will = MQTTWillMessage(topic: "w", payload: Array("gone".utf8), qos: .atLeastOnce, retain: true, delay: .seconds(5), properties: properties)
        #expect(connection.will == will)
        let client = connection.clientOptions(reconnects: false)
        #expect(client.receiveMaximum == 7 && client.sessionExpiry == .seconds(60) && !client.cleanStart && client.will == will)
        #expect(try subscribe("-t", "a", "-V", "31").connection.version == .v3_1)
        #expect(try subscribe("-t", "a", "-c", "-i", "x").connection.clientOptions(reconnects: true).sessionExpiry == .seconds(4_294_967_295))
    }

    @Test func `a request needs its topics and one source`() throws {
        func request(_ words: String...) throws(CommandFailure) -> MQTTRequestOptions { try MQTTRequestOptions(Arguments(words, for: MQTTCommands.request)) }
        let options = try request("-t", "q", "-e", "a", "-m", "x")
        #expect((options.topic, options.responseTopic, options.source) == ("q", "a", .text("x")))
        #expect(options.connection.version == .v5)
        #expect(refusal { () throws(CommandFailure) in _ = try request("-t", "q", "-m", "x") }.contains("add -e TOPIC"))
        #expect(refusal { () throws(CommandFailure) in _ = try request("-t", "q", "-e", "a/+", "-m", "x") }.contains("has a wildcard"))
    }

    private func line(_ format: String, _ message: MQTTMessage) throws -> String {
        var output: [UInt8] = []
        _ = try MQTTOutputFormat(format).append(message, at: LocalTime(wallNanoseconds: 1_470_818_943_786_368_637), to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    /// mosquitto_sub 2.0.11 printed these.
    @Test(arguments: [
        ("%t|%p|%q|%r|%l|%A|%C|%D|%E|%F|%P|%R|%S|%%|@@|\\t", "t/aä|hé\"l\\lo/\tx|1|0|11||text/x|cd\"|77|1|k1:v1 k2:v\"2|r/t||%|@|\t\n"),
        ("[%10t][%-10t][%.3t][%10.3t]", "[     t/aä][t/aä     ][t/a][       t/a]\n"),
        (
            "[%05l][%-5l][%5l][%05m][%8E][%08E][%5F][%05F][%5A][%8C][%.2C]",
            "[00011][11   ][   11][00000][      77][00000077][    1][00001][     ][  text/x][te]\n"
        ),
        ("[%12x][%012x][%-30x][%8p][%-20p]", "[  68c3a9226c][0068c3a9226c][68c3a9226c                    ][hé\"l\\lo][hé\"l\\lo/\tx         ]\n"),
        ("%U @N", "1470818943.786368637 786368637\n"),
    ])
    func `messages are printed as mosquitto_sub does`(_ format: String, _ expected: String) throws {
        var message = MQTTMessage(topic: "t/aä", payload: Array("hé\"l\\lo/\tx".utf8), qos: .atLeastOnce)
        message.properties.contentType = "text/x"
        message.properties.userProperties = [MQTTUserProperty("k1", "v1"), MQTTUserProperty("k2", "v\"2")]
        message.properties.responseTopic = "r/t"
        message.properties.correlationData = Array("cd\"".utf8)
        message.properties.messageExpiry = .seconds(77)
        message.properties.isText = true
        #expect(try line(format, message) == expected)
    }

    @Test func `JSON payloads are read and written again, others are complained of`() throws {
        let message = MQTTMessage(topic: "a", payload: Array(#"{"a": 1 , "b":[1,2.50, true,null,{}],"c":"\u00e9\n\ud83d\ude00"}"#.utf8))
        #expect(try line("%J", message).hasSuffix(#""payload":{"a":1,"b":[1,2.5,true,null,{}],"c":"é\n😀"}}"# + "\n"))
        for bad in ["", "{", "[1,]", "{\"a\"}", "01x", "nul", "\"\u{1}\"", "1 2", "\"\\ud800\"", String(repeating: "[", count: 10_000)] {
            var output: [UInt8] = []
            let complaint = try MQTTOutputFormat("%J").append(MQTTMessage(topic: "a", payload: Array(bad.utf8)), at: .now, to: &output)
            #expect(complaint == "Error: Message payload is not valid JSON on topic a.", "\(bad)")
        }
    }

    @Test func `a URL and a host contradict each other`() {
        #expect(refusal(subscribe: "-L", "mqtt://h/t", "-p", "1") == "-L says host and port: leave out -h and -p")
    }
}
