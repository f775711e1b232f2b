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
        #expect(options.qos == 0)
        #expect(options.connection == MQTTConnectionOptions())
        #expect(options.connection.host == "localhost")
        #expect(options.connection.port == 1883)
        #expect(options.connection.keepAliveSeconds == 60)
        #expect(options.connection.cleanSession)
        #expect(options.connection.version == .v311)
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
        #expect(options.qos == 1)
        #expect(options.isVerbose)
        #expect(options.messageCountMax == 3)
        #expect(options.timeout == .seconds(5))
        let least = try subscribe("-t", "a")
        #expect(!least.isVerbose && least.messageCountMax == nil && least.timeout == nil && least.qos == 0)
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
        #expect(refusal(subscribe: "-t", "a", "-V", "31") == "-V 31: the versions are 311 and 5")
        #expect(refusal(subscribe: "-t", "a", "-c").contains("add -i ID"))
        #expect(refusal(subscribe: "-t", "a", "-P", "x").contains("[MQTT-3.1.2-22]"))
        #expect(refusal(subscribe: "-t", "a", "-P", "x", "-V", "5") == "accepted")
    }

    @Test(arguments: [
        "http://h/t", "mqtt:///t", "mqtt://h:0/t", "mqtt://h:x/t", "mqtt://h:/t", "mqtt://[::1]9/t", "mqtt://%zz@h/t", "mqtt://%+1@h/t", "mqtt://%f@h/t",
        "mqtt://%ff@h/t",
    ])
    func `a bad URL is refused`(url: String) { #expect(refusal(subscribe: "-L", url).hasPrefix("-L")) }

    @Test func `a URL and a host contradict each other`() {
        #expect(refusal(subscribe: "-L", "mqtt://h/t", "-p", "1") == "-L says host and port: leave out -h and -p")
    }
}
