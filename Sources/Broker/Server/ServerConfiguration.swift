import CLinux
public import MartletLogging
import MartletNet
public import MartletSettings
import MartletTLS

/// Everything the server is told at start, checked: what exists as a value can be run.
///
/// Invariant: `listeners` is not empty, and none can be reached from another machine while anybody may connect, unless
/// `allowAnonymous` says so. Not here: the sources' syntax and precedence (`Settings`), and what the numbers do.
public struct ServerConfiguration: Sendable, Equatable {
    public enum Storage: Sendable, Equatable {
        case memory
        /// A journal, in a directory.
        case directory(String, JournalSettings)
    }

    /// Who may connect once there are users. Its description never shows the password.
    public struct User: Sendable, Equatable, CustomStringConvertible {
        public let name: String
        public let password: String
        public init(name: String, password: String) {
            self.name = name
            self.password = password
        }
        public var description: String { name }
    }

    public var listeners = ListenerURL.defaults
    public var storage = Storage(Self.dataKey.initial, JournalSettings())
    /// What the bodies of queued messages may take in memory, in bytes, all loops together.
    ///
    /// From a half on, bodies that are on disk leave memory and are read when their turn comes; at the whole of it publishers are held. RabbitMQ
    /// holds them at 0.4 of the machine's memory and pages from a half of that on; mosquitto, NATS and EMQX have no such limit.
    public var memory = Self.memoryKey.initial
    public var users: [User] = []
    public var allowAnonymous = false
    public var loops = Self.loopsKey.initial
    public var logLevel = LogLevel.info
    public var grace = Self.graceKey.initial
    /// AMQP's virtual hosts; `/` is always there.
    public var virtualHosts: [String] = []
    public var mqtt = MQTTSettings()
    public var amqp = AMQPSettings()
    public var webSocket = WebSocketSettings()
    /// With everything in memory: how long a journal that keeps nothing takes to answer, so that clients can be tried against a
    /// disk's delays. `nil`: nothing waits.
    public var journalLatency: Duration?

    public init() {}

    /// Without users anybody is let in, with any credentials: only this machine can come, or `allowAnonymous` was said.
    /// With users a client without credentials is let in only by `allowAnonymous`.
    public var acceptsAnonymous: Bool { users.isEmpty || allowAnonymous }
}

extension ServerConfiguration {
    /// Where a configuration is read from; each part may be empty.
    public struct Sources: Sendable {
        /// The values of one option and the key that they set.
        public struct Option: Sendable {
            public let option: String
            public let key: String
            public let values: [String]
            public init(_ option: String, sets key: String, _ values: [String]) {
                self.option = option
                self.key = key
                self.values = values
            }
        }
        public var filePath: String?
        public var environment: [String: String] = [:]
        public var options: [Option] = []
        /// `KEY=VALUE`, from `--set`.
        public var assignments: [String] = []
        public init() {}
    }

    /// Throws one sentence that begins with the place of the mistake.
    public init(_ sources: Sources) throws(SettingsMisuse) {
        var settings = Settings(Self.declarations)
        if let path = sources.filePath { try settings.add(filePath: path) }
        try settings.add(environment: sources.environment)
        for option in sources.options { try settings.add(option: option.option, option.values, for: option.key) }
        for assignment in sources.assignments { try settings.add(assignment: assignment) }
        try self.init(settings)
    }

    init(_ settings: Settings) throws(SettingsMisuse) {
        let listen = try settings.value(of: Self.listenKey)
        if !listen.isEmpty { listeners = listen }
        storage = Storage(try settings.value(of: Self.dataKey), try JournalSettings(settings))
        memory = try settings.value(of: Self.memoryKey)
        users = try settings.value(of: Self.usersKey)
        allowAnonymous = try settings.value(of: Self.allowAnonymousKey)
        loops = try settings.value(of: Self.loopsKey)
        logLevel = try settings.value(of: Self.logLevelKey)
        grace = try settings.value(of: Self.graceKey)
        virtualHosts = try settings.value(of: Self.virtualHostsKey)
        mqtt = try MQTTSettings(settings)
        amqp = try AMQPSettings(settings)
        webSocket = try WebSocketSettings(settings)
        let latency = try settings.value(of: Self.journalLatencyKey)
        journalLatency = latency == .zero ? nil : latency
        try check(settings)
    }

    /// What no single key can know.
    private func check(_ settings: Settings) throws(SettingsMisuse) {
        if case .directory("", _) = storage {
            throw SettingsMisuse("\(settings.place(of: "data")): the name of the directory is empty; `none` keeps everything in memory")
        }
        for (index, user) in users.enumerated() where users[..<index].contains(where: { $0.name == user.name }) {
            throw SettingsMisuse("\(settings.place(of: "users")): the user \"\(user.name)\" is named twice")
        }
        for (index, listener) in listeners.enumerated() {
            if case .tcp(_, let port) = listener.endpoint, port == 0 { continue }
            if listeners[..<index].contains(where: { $0.endpoint == listener.endpoint }) {
                throw SettingsMisuse("\(settings.place(of: "listen")): two listeners share \(listener)")
            }
        }
        for listener in listeners {
            guard let tls = listener.tls else { continue }
            do throws(TLSError) { _ = try TLSContext(server: tls) } catch {
                throw SettingsMisuse("\(settings.place(of: "listen")): \(listener.scheme.rawValue): \(error)")
            }
        }
        if users.isEmpty, !allowAnonymous, let open = listeners.first(where: { !$0.isLocal }) {
            throw SettingsMisuse(
                "\(settings.place(of: "listen")): \(open) can be reached from other machines and there are no users: "
                    + "add --user NAME:PASSWORD, listen on 127.0.0.1, or say --allow-anonymous")
        }
    }
}

// MARK: Keys

extension ServerConfiguration {
    static let listenKey = SettingKey(
        "listen",
        .list(of: SettingForm.text.map(show: { $0.description }) { text throws(SettingsMisuse) in try ListenerURL(parsing: text) }),
        default: [],
        "where to listen; with none given, on 127.0.0.1: \(ListenerURL.defaults.map { "\($0.scheme) \($0.scheme.defaultPort)" }.joined(separator: ", "))")
    static let dataKey = SettingKey("data", .text, default: "./martlet-data", "where the journal lies; `none` keeps everything in memory")
    static let memoryKey = SettingKey(
        "memory", .byteSize(1 << 20...1 << 44), default: max(64 << 20, MachineMemory.bytes / 5 * 2 & -(1 << 20)),
        "memory for the bodies of queued messages; 40 % of the machine's")
    static let usersKey = SettingKey(
        "users",
        .list(of: SettingForm.text.map(show: { $0.name }) { text throws(SettingsMisuse) in try User(parsing: text) }),
        default: [], "who may connect, each NAME:PASSWORD; with none, anybody on this machine")
    static let allowAnonymousKey = SettingKey("allowAnonymous", .flag, default: false, "let clients in without credentials, also from other machines")
    static let virtualHostsKey = SettingKey("vhosts", .list(of: .text), default: [], "AMQP's virtual hosts; `/` is always there")
    static let loopsKey = SettingKey("loops", .integer(1...64), default: min(64, max(1, Int(cl_cpu_count()))), "event loops, one thread each")
    static let logLevelKey = SettingKey("logLevel", SettingForm<LogLevel>.choice, default: .info, "what stderr shows")
    static let graceKey = SettingKey("grace", .duration(.zero ... .seconds(3600)), default: .seconds(10), "how long SIGTERM waits for clients to be told")

    static let journalLatencyKey = SettingKey(
        "journal.memoryLatency", .duration(.zero ... .seconds(60)), default: .zero,
        "with `--data none`: acknowledge this late, as a disk would")

    /// All keys, for checking and for `--help`.
    public static var declarations: [SettingDeclaration] {
        [
            listenKey.declaration, dataKey.declaration, memoryKey.declaration, usersKey.declaration, allowAnonymousKey.declaration, loopsKey.declaration,
            logLevelKey.declaration, graceKey.declaration, virtualHostsKey.declaration, journalLatencyKey.declaration,
        ] + JournalSettings.declarations + MQTTSettings.declarations + AMQPSettings.declarations + WebSocketSettings.declarations
    }
}

extension ServerConfiguration.Storage {
    /// Of `data`, a directory or `none`.
    init(_ place: String, _ journal: JournalSettings) { self = place == "none" ? .memory : .directory(place, journal) }
}

extension ServerConfiguration.User {
    /// `NAME:PASSWORD`; the password may hold colons. A refusal does not repeat what may be a secret.
    init(parsing text: String) throws(SettingsMisuse) {
        guard let colon = text.firstIndex(of: ":"), colon != text.startIndex, text.index(after: colon) != text.endIndex else {
            throw SettingsMisuse("a user is written NAME:PASSWORD, neither of them empty")
        }
        self.init(name: String(text[..<colon]), password: String(text[text.index(after: colon)...]))
    }
}
