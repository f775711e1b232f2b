import MartletEventLoop
import MartletJournal
import MartletLogging
import MartletNet
import MartletShard

extension RunningServer {
    /// Begins to answer on the data directory's control socket; nil without a journal, or if there can be no socket, which is logged.
    func openControl(log: Logger) -> ControlServer? {
        guard let directory = journal?.directory else { return nil }
        let commands = ControlCommands(
            status: { self.status() }, backup: { target, progress throws(ControlFailure) in try Self.backUp(directory, to: target, progress) })
        do {
            let control = try ControlServer(path: ControlServer.path(in: directory.path), commands: commands, log: log)
            control.start()
            return control
        } catch {
            log.warning("there is no control socket: `martlet ctl backup` and `status` will find nobody", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private static func backUp(
        _ directory: JournalDirectory, to target: String, _ progress: (Int, Int) -> Bool
    ) throws(ControlFailure) -> ControlBackup {
        do {
            let backup = try directory.backUp(to: target, progress: progress)
            return ControlBackup(segments: backup.segments, bytes: backup.bytes)
        } catch { throw ControlFailure(error.kind == .forbidden ? 77 : 1, "\(error)") }
    }

    /// What is there and what was counted, of all loops together, in a fixed order. Waits for the loops, for at most 5 s: one that does not
    /// answer is not in the sums, and `loops` tells how many did. On a thread that may wait.
    public func status() -> [(name: String, value: UInt64)] {
        let figures = Survey(loops: loops).take(within: .seconds(5))
        var values = [("loops", UInt64(figures.count))]
        for sample in figures.flatMap(\.samples) {
            if let index = values.firstIndex(where: { $0.0 == sample.name }) {
                values[index].1 += sample.value
            } else {
                values.append((sample.name, sample.value))
            }
        }
        return values
    }
}
