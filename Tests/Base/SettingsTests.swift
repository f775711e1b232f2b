import MartletSettings
import Testing

private enum Mood: String, CaseIterable { case calm, loud }

private enum Keys {
    static let loops = SettingKey("loops", .integer(1...64), default: 2, "threads")
    static let grace = SettingKey("grace", .duration(.zero ... .seconds(3600)), default: .seconds(10), "how long to wait")
    static let mood = SettingKey("mood", SettingForm<Mood>.choice, default: .calm, "how it feels")
    static let listen = SettingKey("listen", .list(of: .text), default: [], "where")
    static let open = SettingKey("allowAnonymous", .flag, default: false, "who")
    static let packet = SettingKey("mqtt.packetSizeMax", .byteSize(1024...268_435_455), default: 1 << 20, "how large")
    static let all = [loops.declaration, grace.declaration, mood.declaration, listen.declaration, open.declaration, packet.declaration]
}

private func settings(_ yaml: String = "", environment: [String: String] = [:], sets: [String] = [], listen: [String] = []) throws(SettingsMisuse) -> Settings {
    var settings = Settings(Keys.all)
    try settings.add(file: yaml, named: "martlet.yaml")
    try settings.add(environment: environment)
    try settings.add(option: "--listen", listen, for: "listen")
    for set in sets { try settings.add(assignment: set) }
    return settings
}

private func refusal(_ yaml: String = "", environment: [String: String] = [:], sets: [String] = []) -> String {
    do {
        _ = try settings(yaml, environment: environment, sets: sets)
        return "accepted"
    } catch { return error.description }
}

@Suite struct SettingsTests {
    @Test func `defaults hold where nothing is said`() throws {
        let settings = try settings("# loops: 3\nmqtt:\nlisten:\n")
        #expect(try settings.value(of: Keys.loops) == 2)
        #expect(try settings.value(of: Keys.packet) == 1 << 20)
        #expect(try settings.value(of: Keys.listen) == [])
    }

    @Test func `every form reads from a file`() throws {
        let settings = try settings(
            "loops: 3\ngrace: 2m\nmood: loud\nlisten: [a, b]\nallowAnonymous: true\nmqtt:\n  packetSizeMax: 64KiB\n")
        #expect(try settings.value(of: Keys.loops) == 3)
        #expect(try settings.value(of: Keys.grace) == .seconds(120))
        #expect(try settings.value(of: Keys.mood) == .loud)
        #expect(try settings.value(of: Keys.listen) == ["a", "b"])
        #expect(try settings.value(of: Keys.open))
        #expect(try settings.value(of: Keys.packet) == 65_536)
    }

    @Test func `command line beats environment beats file beats default`() throws {
        let file = "loops: 3\nmqtt: {packetSizeMax: 2KiB}\nlisten: [file]\n"
        #expect(try settings(file).value(of: Keys.loops) == 3)
        #expect(try settings(file, environment: ["MARTLET_LOOPS": "4"]).value(of: Keys.loops) == 4)
        #expect(try settings(file, environment: ["MARTLET_LOOPS": "4"], sets: ["loops=5", "loops=6"]).value(of: Keys.loops) == 6)
        #expect(try settings(file, environment: ["MARTLET_LISTEN": "x,y"]).value(of: Keys.listen) == ["x", "y"])
        #expect(try settings(file, environment: ["MARTLET_LISTEN": "x,y"], listen: ["flag"]).value(of: Keys.listen) == ["flag"])
    }

    @Test(arguments: ["MARTLET_MQTT_PACKETSIZEMAX", "martlet_mqtt_packetsizemax", "MARTLET_MQTT_PACKET_SIZE_MAX"])
    func `the environment's spelling is free of case`(name: String) throws {
        #expect(try settings(environment: [name: "3KiB"]).value(of: Keys.packet) == 3072)
    }

    @Test func `strangers in the environment are left alone, slips are named`() throws {
        _ = try settings(environment: ["MARTLET_PORT": "tcp://10.0.0.1:1883", "MARTLET_SERVICE_HOST": "10.0.0.1", "PATH": "/bin"])
        #expect(refusal(environment: ["MARTLET_LOPS": "2"]) == "MARTLET_LOPS: names no setting; did you mean \"MARTLET_LOOPS\"?")
    }

    @Test func `an unknown key names place and nearest`() {
        #expect(refusal("loops: 1\nlops: 2\n") == "martlet.yaml:2: unknown key \"lops\"; did you mean \"loops\"?")
        #expect(
            refusal("mqtt:\n  packet-size-max: 2KiB\n") == "martlet.yaml:2: unknown key \"mqtt.packet-size-max\"; did you mean \"mqtt.packetSizeMax\"?")
        #expect(refusal(sets: ["mqtt.paketSizeMax=1MiB"]) == "--set: unknown key \"mqtt.paketSizeMax\"; did you mean \"mqtt.packetSizeMax\"?")
        #expect(refusal("bananas: 1\n") == "martlet.yaml:1: unknown key \"bananas\"")
        #expect(refusal(sets: ["loops"]) == "--set loops: expected KEY=VALUE")
    }

    @Test func `a wrong type is one clear sentence`() {
        #expect(refusal("loops: many\n") == "martlet.yaml:1: loops: \"many\" is not a whole number from 1 to 64")
        #expect(refusal("\nloops: [1]\n") == "martlet.yaml:2: loops: a list is not a whole number from 1 to 64")
        #expect(refusal(environment: ["MARTLET_LOOPS": "65"]) == "MARTLET_LOOPS: \"65\" is not a whole number from 1 to 64")
        #expect(refusal(sets: ["grace=10"]) == "--set grace: \"10\" is not a duration from 0s to 1h, such as 500ms, 10s or 2m")
        #expect(refusal("allowAnonymous: yes\n") == "martlet.yaml:1: allowAnonymous: \"yes\" is not true or false")
        #expect(refusal("mood: sad\n") == "martlet.yaml:1: mood: \"sad\" is not one of calm, loud")
        #expect(refusal("mqtt: 3\n") == "martlet.yaml:1: mqtt: \"3\" is not a section of keys")
        #expect(refusal("mqtt:\n  packetSizeMax: 1GiB\n").contains("is not a size from 1KiB to"))
        #expect(refusal("just words\n").contains("martlet.yaml:1: \"just words\" stands where keys are expected"))
    }

    @Test func `what a higher source overrides is checked too`() {
        #expect(refusal("loops: many\n", sets: ["loops=2"]).hasPrefix("martlet.yaml:1: loops"))
    }

    @Test func `bad YAML names its line`() {
        #expect(refusal("loops: 1\n  bad: [\n").hasPrefix("martlet.yaml:2: "))
        #expect(refusal("loops: 1\nloops: 2\n") == "martlet.yaml:2: \"loops\" stands here and in line 1")
        #expect(refusal("a: &x 1\nb: *x\n").contains("anchors and aliases"))
        #expect(refusal("loops: 1\n---\nloops: 2\n").contains("a second document"))
        #expect(refusal(String(repeating: "[", count: 5000)).contains("levels deep"))
        #expect(refusal("? [a]\n: b\n").contains("a key must be a word"))
        #expect(refusal("loops: \u{0}\n").hasPrefix("martlet.yaml:"))
    }

    @Test func `no bytes trap the reader`() {
        var state: UInt64 = 7
        for _ in 0..<2000 {
            let text = (0..<40).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return ["a", ":", " ", "\n", "-", "[", "]", "{", "}", ",", "&", "*", "!", "\"", "'", "#", "|", "\t", "?", "%"][Int(state >> 33) % 20]
            }
            _ = refusal(text.joined())
        }
    }

    @Test(
        arguments: [
            ("1MiB", 1_048_576), ("64KiB", 65_536), ("256MB", 256_000_000), ("10", 10), ("10B", 10), ("1 GiB", 1 << 30), ("1.5MiB", nil), ("MiB", nil),
            ("-1", nil), ("1mib", nil), ("99999999999GiB", nil), ("", nil), ("٣", nil),
        ] as [(String, Int?)])
    func `sizes`(text: String, bytes: Int?) {
        #expect(ByteSize.parse(text) == bytes)
        if let bytes { #expect(ByteSize.parse(ByteSize.text(bytes)) == bytes) }
    }

    @Test(
        arguments: [
            ("10s", .seconds(10)), ("500ms", .milliseconds(500)), ("2m", .seconds(120)), ("1h", .seconds(3600)), ("7d", .seconds(604_800)), ("0s", .zero),
            ("10", nil), ("s", nil), ("1.5s", nil), ("-1s", nil), ("99999999999999999d", nil),
        ] as [(String, Duration?)])
    func `durations`(text: String, duration: Duration?) {
        #expect(DurationText.parse(text) == duration)
        if let duration { #expect(DurationText.parse(DurationText.text(duration)) == duration) }
    }

    @Test func `the nearest word counts swaps as one edit and stays silent when nothing is near`() {
        #expect(Nearest.word(to: "lsiten", among: ["loops", "listen", "grace"]) == "listen")
        #expect(Nearest.word(to: "loglevel", among: ["logLevel", "loops"]) == "logLevel")
        #expect(Nearest.word(to: "zebra", among: ["loops", "listen"]) == nil)
        #expect(Nearest.word(to: "x", among: []) == nil)
    }

    @Test func `a file that cannot be read is one sentence`() {
        #expect(throws: SettingsMisuse("/nonexistent/m.yaml: cannot be read: No such file or directory")) { try SettingsFile.read("/nonexistent/m.yaml") }
        #expect(throws: SettingsMisuse("/dev/zero: larger than 1MiB, which no configuration is")) { try SettingsFile.read("/dev/zero") }
        #expect(throws: SettingsMisuse.self) { try SettingsFile.read("/tmp") }
    }

    @Test func `the environment of this process can be read`() { #expect(ProcessEnvironment.variables["PATH"] != nil) }
}
