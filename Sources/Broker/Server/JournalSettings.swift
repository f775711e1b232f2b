import MartletSettings

/// How the journal writes, each with its reason and what other servers do. Section `journal:` of the configuration; where it lies is `data`.
public struct JournalSettings: Sendable, Equatable {
    /// What an acknowledgement of a persistent message says.
    public enum Sync: String, Sendable, CaseIterable {
        /// It is on disk: it survives the end of the process and the loss of power. RabbitMQ's confirms, PostgreSQL and etcd say the same.
        case always
        /// It is written, and on disk within `syncInterval`: it survives the end of the process. NATS JetStream syncs every 2 min, Redis every second.
        case interval
        /// It is written; the system puts it on disk when it likes, on Linux within about 30 s. Kafka's default, which trusts in its replicas.
        case never
    }
    public var sync = Self.syncKey.initial
    /// The longest that something written stays unsynced, with `sync: interval`: what a loss of power may take.
    public var syncInterval = Self.syncIntervalKey.initial
    /// The longest that what is to be acknowledged waits for more, with `sync: always`, where that was tried and saves commits without slowing
    /// clients: some thousand messages a second from many. Zero: it never waits. PostgreSQL's commit_delay is the same, and 0.
    public var gatherTime = Self.gatherTimeKey.initial
    /// How large a segment is made: space is taken and given back in such pieces, and at least two a loop are there. PostgreSQL and RabbitMQ
    /// 16 MiB, NATS 8 MB; Kafka, which keeps what was consumed, 1 GiB.
    public var segmentBytes = Self.segmentBytesKey.initial

    public init() {}
}

extension JournalSettings {
    static let syncKey = SettingKey(
        "journal.sync", SettingForm<Sync>.choice, default: .always, "what an acknowledgement says: on disk (always), or written")
    static let syncIntervalKey = SettingKey(
        "journal.syncInterval", .duration(.milliseconds(1) ... .seconds(3600)), default: .seconds(1), "with `journal.sync: interval`: how often")
    static let gatherTimeKey = SettingKey(
        "journal.gatherTime", .duration(.zero ... .seconds(1)), default: .milliseconds(1), "with `journal.sync: always`: what commits may wait for more")
    static let segmentBytesKey = SettingKey("journal.segmentBytes", .byteSize(4 << 20...1 << 30), default: 16 << 20, "how large a file of the journal is")

    static var declarations: [SettingDeclaration] {
        [syncKey.declaration, syncIntervalKey.declaration, gatherTimeKey.declaration, segmentBytesKey.declaration]
    }

    init(_ settings: Settings) throws(SettingsMisuse) {
        sync = try settings.value(of: Self.syncKey)
        syncInterval = try settings.value(of: Self.syncIntervalKey)
        gatherTime = try settings.value(of: Self.gatherTimeKey)
        segmentBytes = try settings.value(of: Self.segmentBytesKey)
    }
}

extension ServerConfiguration.Storage: CustomStringConvertible {
    /// What is promised, in plain words: a line of the server's at start.
    public var description: String {
        switch self {
        case .memory: "everything is kept in memory; nothing survives the end of this process"
        case .directory(let path, let journal):
            switch journal.sync {
            case .always: "\(path); acknowledged means on disk (fdatasync)"
            case .interval:
                "\(path); acknowledged means written; synced every \(DurationText.text(journal.syncInterval)): a power cut may lose what is younger"
            case .never: "\(path); acknowledged means written; the system decides when it is on disk: a power cut may lose acknowledged messages"
            }
        }
    }
}

extension ServerConfiguration {
    /// What happens when memory is short: a line of the server's at start.
    var memoryNotice: String {
        let beyond = storage == .memory ? "then publishers are held" : "half of it before they wait on disk"
        return "bodies of queued messages may take \(ByteSize.text(memory)), \(beyond)"
    }
}
