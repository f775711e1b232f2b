import MartletBytes
import MartletEventLoop
import MartletLogging
import MartletNet
import MartletShard
import Synchronization

/// `martlet serve`: loops with a shard each, listeners, and the end in good order.
///
/// Accepted connections go round the loops in turn. Not here: settings (`ServerConfiguration`), protocols (gateways).
public enum Server {
    /// Runs until SIGINT or SIGTERM; SIGHUP has the certificates read again. Answers the exit code: 0, or 1 when it could not start (the sentence is on stderr).
    public static func run(_ configuration: ServerConfiguration) -> Int32 {
        ProcessSetup.prepare()
        ProcessSetup.keepHangup()
        let log = Logger(label: "serve", level: configuration.logLevel)
        let running: RunningServer
        do {
            running = try RunningServer(configuration, log: log)
        } catch {
            StandardStream.error.write("martlet: \(error)\n")
            return 1
        }
        for line in running.listening { StandardStream.error.write("listening \(line)\n") }
        if configuration.storage == .memory { StandardStream.error.write("storage: everything is kept in memory; nothing survives the end of this process\n") }
        StandardStream.error.write("ready\n")
        ProcessSetup.onHangup { running.reloadCertificates() }
        _ = ProcessSetup.nextTermination()
        // A second signal ends at once.
        ProcessSetup.onTermination { _ in ProcessSetup.exit(1) }
        running.stop(grace: configuration.grace)
        return 0
    }
}
