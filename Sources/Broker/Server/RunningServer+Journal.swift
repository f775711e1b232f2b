import MartletCore
import MartletEventLoop
import MartletJournal
import MartletLogging
import MartletNet
import MartletShard

extension RunningServer {
    /// Restores what the data directory holds, and gives each shard its stream; when this returns, all of that is on disk and the shards can
    /// take messages.
    static func openJournal(_ storage: ServerConfiguration.Storage, _ loops: [EventLoop], _ router: Router, _ log: Logger) throws(JournalError)
        -> OpenJournal?
    {
        guard case .directory(let path, let settings) = storage else { return nil }
        let directory = try JournalDirectory(path), options = JournalOptions(settings), start = ContinuousClock.now
        directory.use(options)
        var recovery = try JournalRecovery(directory)
        for finding in recovery.findings {
            if finding.isDamage { log.error("journal: \(finding)") } else { log.info("journal: \(finding)") }
        }
        var restoration = Restoration(of: loops, router: router, log: log)
        try restoration.run(&recovery)
        let report: @Sendable (JournalReport) -> Void = { report in
            switch report {
            case .warning(let text): log.warning("journal: \(text)")
            case .failure(let error): fail(error, log)
            }
        }
        let streams = try JournalStreams(
            opening: recovery, in: directory, shards: loops.count, options: options,
            wake: { shard in
                let loop = loops[shard]
                return { loop.execute { _ in } }
            }, report: report)
        for (loop, journal) in zip(loops, streams.journals) {
            let journal = LoopBound(journal, on: loop)
            loop.execute { loop in (loop.tenant as? Shard)?.begin(journal()) }
        }
        if restoration.messages + restoration.definitions > 0 {
            log.info(
                "journal recovered",
                metadata: [
                    "definitions": "\(restoration.definitions)", "messages": "\(restoration.messages)", "time": "\(ContinuousClock.now - start)",
                ])
        }
        return OpenJournal(directory: directory, housekeeper: streams.housekeeper)
    }

    /// After a write or a sync that failed nobody knows what is on disk: only a restart finds out.
    private static func fail(_ error: JournalError, _ log: Logger) {
        log.error("journal: \(error); nothing more can be acknowledged, the server ends")
        ProcessSetup.exit(1)
    }
}

/// What all streams of a journal share.
struct OpenJournal: Sendable {
    let directory: JournalDirectory
    /// Prepares and discards its files.
    let housekeeper: JournalHousekeeper
}

extension JournalOptions {
    init(_ settings: JournalSettings) {
        let sync: JournalSync =
            switch settings.sync {
            case .always: .always
            case .interval: .interval(settings.syncInterval)
            case .never: .never
            }
        self.init(segmentBytes: settings.segmentBytes, sync: sync)
        gatherTime = settings.gatherTime
    }
}
