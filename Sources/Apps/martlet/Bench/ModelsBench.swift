import CLinux
import MartletBytes
import MartletLogging
import MartletNet
import MartletSockets

/// `martlet bench models`: for each model and number of clients a server process, a load, and what the system says of both.
struct ModelsBench {
    private let options: ModelsBenchOptions
    private static let settle = Duration.milliseconds(200), idle = Duration.milliseconds(300), warmUp = Duration.milliseconds(300)

    init(_ options: ModelsBenchOptions) { self.options = options }

    func run() throws(CommandFailure) -> Int32 {
        let descriptorMax = ProcessSetup.prepare()
        // The children die with this thread.
        ProcessSetup.onTermination { signal in ProcessSetup.exit(128 + signal) }
        let most = options.clientCounts.max() ?? 0
        guard most + 100 <= descriptorMax else {
            throw CommandFailure(
                ExitCode.failed, "bench models: \(most) clients need \(most + 100) descriptors, the system allows \(descriptorMax): raise `ulimit -n`")
        }
        var cells: [ModelsBenchCell] = []
        let total = options.models.count * options.clientCounts.count
        for count in options.clientCounts {
            for model in options.models {
                progress("\(model.rawValue), \(BenchFigures.grouped(Double(count))) client\(count == 1 ? "" : "s") (\(cells.count + 1) of \(total))")
                cells.append(try measure(model, count))
            }
        }
        progress(nil)
        let report = ModelsBenchReport(options, cells)
        StandardStream.output.write(options.isJSON ? report.json : report.table)
        if let path = options.svgPath {
            do throws(OutputFailure) { try OutputFile.write(ModelsPlot(cells, options).svg, to: path) } catch {
                throw CommandFailure(ExitCode.failed, "bench models: \(error)")
            }
        }
        return ExitCode.ok
    }

    private func progress(_ text: String?) {
        guard !options.isQuiet, StandardStream.error.isTerminal else { return }
        StandardStream.error.write("\r\u{1B}[K\(text ?? "")")
    }

    private func measure(_ model: ServerModel, _ clientCount: Int) throws(CommandFailure) -> ModelsBenchCell {
        let words = [ChildProcess.ownPath, "tcp", "echo", "--model", model.rawValue, "--port", "0"]
        guard let server = ChildProcess(words) else { throw CommandFailure(ExitCode.failed, "bench models: the system starts no more processes") }
        let line = server.nextLine(until: now + .seconds(10)) ?? "it said nothing within 10 s"
        guard line.hasPrefix("listening "), let port = line.split(separator: ":").last.flatMap({ UInt16($0) }),
            let address = SocketAddress("127.0.0.1", port: port)
        else { throw CommandFailure(ExitCode.failed, "bench models: the server of model \(model.rawValue) does not listen: \(line)") }
        let busyCount = min(clientCount, options.busyMax)
        let load = ModelsBenchLoop(clientCount, busy: busyCount, address, size: options.size)
        connect(load, model, clientCount)
        var cell = ModelsBenchCell(model: model, clientCount: clientCount, busyCount: busyCount)
        let idleBefore = server.processorTime, idleStart = now
        DetachedThread.sleep(Self.idle)
        cell.idleProcessorShare = (server.processorTime - idleBefore) / (now - idleStart)
        load.ask { load, loop in load.startSending(on: loop) }
        DetachedThread.sleep(Self.warmUp)
        // What is read of all threads takes a while: it stands outside of what is measured by time.
        let switchesBefore = server.contextSwitches, switchesStart = now
        load.ask { load, _ in load.startMeasuring() }
        let start = now, processorBefore = server.processorTime
        DetachedThread.sleep(.seconds(options.seconds))
        let counts = load.ask(), processor = server.processorTime - processorBefore
        cell.seconds = (now - start) / .seconds(1)
        cell.contextSwitchesPerSecond = Double(max(0, server.contextSwitches - switchesBefore)) / ((now - switchesStart) / .seconds(1))
        cell.take(counts, processor)
        (cell.threadCount, cell.descriptorCount, cell.residentSize) = (server.threadCount, server.descriptorCount, server.residentSize)
        load.end()
        if counts.lost > 0 { cell.remark = server.nextLine(until: now) ?? "\(counts.lost) connections were refused or ended" }
        _ = server.end(grace: .seconds(5))
        return cell
    }

    /// Until all are connected, or no more are for a while: a server that serves one client leaves the others in the kernel's queue, which is full at
    /// some thousands.
    private func connect(_ load: ModelsBenchLoop, _ model: ServerModel, _ clientCount: Int) {
        var last = (count: 0, at: now)
        while true {
            let counts = load.ask(), settled = counts.connected + counts.lost
            if settled >= clientCount || now - last.at > .seconds(model == .blocking ? 1 : 5) { break }
            if settled != last.count { last = (settled, now) }
            DetachedThread.sleep(.milliseconds(5))
        }
        DetachedThread.sleep(Self.settle)
    }

    private var now: Instant { Instant(nanoseconds: cl_monotonic_ns()) }
}

/// One model with so many clients.
struct ModelsBenchCell: Sendable {
    let model: ServerModel
    let clientCount: Int
    /// Those that talk.
    let busyCount: Int
    var connected = 0, served = 0
    var requests: UInt64 = 0
    var seconds = 0.0
    /// Microseconds; nil where nobody was answered.
    var p50: Double?, p99: Double?
    /// Of the server, user and system.
    var processorMicroseconds = 0.0
    /// Of one processor, while all clients are silent.
    var idleProcessorShare = 0.0
    var threadCount = 0, descriptorCount = 0
    var residentSize = 0
    var contextSwitchesPerSecond = 0.0
    var remark: String?

    init(model: ServerModel, clientCount: Int, busyCount: Int) {
        self.model = model
        self.busyCount = busyCount
        self.clientCount = clientCount
    }

    mutating func take(_ counts: ModelsBenchLoad.Counts, _ processor: Duration) {
        (connected, served, requests) = (counts.connected, counts.served, counts.replies)
        (p50, p99) = (counts.latency.microseconds(at: 0.5), counts.latency.microseconds(at: 0.99))
        processorMicroseconds = processor / .microseconds(1)
    }

    var requestsPerSecond: Double { seconds > 0 ? Double(requests) / seconds : 0 }
    var processorMicrosecondsPerRequest: Double? { requests > 0 ? processorMicroseconds / Double(requests) : nil }
    var residentMiB: Double { Double(residentSize) / 1_048_576 }
}
