import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletMQTT
import MartletMQTTProtocol
import MartletTLS

/// `martlet bench mqtt`: its connections, and what the report calls the load.
enum MQTTBench {
    static func run(_ options: MQTTBenchOptions) -> Int32 {
        let server = options.server
        return BenchRun.command("bench mqtt", options.load, text(options)) { () throws(CommandFailure) in
            let run = try BenchRun(options.load, host: server.host, port: server.port) { () throws(TLSError) in
                try MQTTPlace.layers(server.host, server.port, tls: options.tls, webSocketPath: server.webSocketPath)
            }
            return (run, stages(options))
        }
    }

    /// Subscribers first: what is published before has nobody.
    private static func stages(_ options: MQTTBenchOptions) -> [[BenchRun.Opening]] {
        let prefix = "bench-\(String(UInt32.random(in: 0...(.max)), radix: 36))", load = options.load
        let topics = (0..<options.topicCount).map { "\(prefix)/\($0)" }
        let subscribers = (0..<load.receiverCount).map { index -> BenchRun.Opening in
            let mine = BenchLoad.share(of: topics, index: index, count: load.receiverCount)
            return { loop in MQTTBenchSubscriber(options, clientID: "\(prefix)-s\(index)", topics: mine, now: loop.now) }
        }
        let publishers = (0..<load.publisherCount).map { index -> BenchRun.Opening in
            let mine = BenchLoad.share(of: topics, index: index, count: load.publisherCount)
            return { loop in MQTTBenchPublisher(options, clientID: "\(prefix)-p\(index)", topics: mine, index: index, now: loop.now) }
        }
        return [subscribers, publishers]
    }

    private static func text(_ options: MQTTBenchOptions) -> String {
        let topics = "\(options.topicCount) topic\(options.topicCount == 1 ? "" : "s")", load = options.load
        var text = "\(load.publisherCount) to \(load.receiverCount), \(topics), QoS \(options.qos), \(load.payloadSize) bytes"
        if let rate = load.rate { text += ", \(BenchFigures.grouped(rate))/s" }
        if options.qos > 0 { text += ", window \(options.window)" }
        return text
    }
}

/// What publishers and subscribers share: CONNECT.
class MQTTBenchConnection: BenchConnection {
    final let options: MQTTBenchOptions
    final var machine: MQTTClientMachine
    private let clientID: String

    init(_ options: MQTTBenchOptions, clientID: String, now: Instant) {
        self.options = options
        self.clientID = clientID
        var limits = MQTTLimits()
        limits.packetSizeMax = 256 << 20
        machine = MQTTClientMachine(limits: limits, now: now)
        super.init()
    }

    override final func connect(on loop: EventLoop) {
        var connect = MQTTConnectOptions(version: options.version, clientID: Array(clientID.utf8))
        connect.keepAlive = 0
        connect.userName = options.server.userName.map { Array($0.utf8) }
        connect.password = options.server.password.map { Array($0.utf8) }
        do throws(MQTTMisuse) { try loop.send(.connect(connect), through: &machine, slot: slot) } catch { fail("CONNECT: \(error)", on: loop) }
    }
}
