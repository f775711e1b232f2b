import Glibc
import MartletBytes
import MartletNet
import MartletZMQ

/// One socket in one role, as `Benchmarks/load/zmqload` has with libzmq, so that either end can be ours:
/// `bench-zmq ROLE --bind|--connect ENDPOINT [--size BYTES] [--count N] [--wait MS] [--hwm N] [--loop]`, ROLE one of push pull pub sub req rep,
/// or both ends in one process: pushpull pubsub reqrep; or proxy, from PULL at --bind to PUSH at --connect, until it is killed. `--loop`: the tasks run on the sockets' loops. One JSON object when it ends.
@main struct BenchZMQ {
    struct Options: Sendable {
        var bind: String?
        var connect: String?
        var size = 64, count = 1_000_000, wait = 300, mark = 1_000
        var runsOnLoop = false, readsInPlace = false
    }

    static func main() async throws {
        let words = CommandLine.arguments
        guard words.count >= 4 else { exit(64) }
        var options = Options(), index = 2
        while index < words.count {
            if words[index] == "--loop" || words[index] == "--in-place" {
                if words[index] == "--loop" { options.runsOnLoop = true } else { options.readsInPlace = true }
                index += 1
                continue
            }
            guard index + 1 < words.count else { exit(64) }
            let value = words[index + 1]
            switch words[index] {
            case "--bind": options.bind = value
            case "--connect": options.connect = value
            case "--size": options.size = Int(value) ?? 64
            case "--count": options.count = Int(value) ?? 0
            case "--wait": options.wait = Int(value) ?? 0
            case "--hwm": options.mark = Int(value) ?? 0
            default: exit(64)
            }
            index += 2
        }
        ProcessSetup.prepare()
        try await run(words[1], options)
    }

    private static func run(_ role: String, _ o: Options) async throws {
        switch role {
        case "push": try await open(.push, o) { try await sendAll($0, "push", o) }
        case "pub": try await open(.pub, o) { try await sendAll($0, "pub", o) }
        case "pull": try await open(.pull, o) { try await receiveAll($0, "pull", o) }
        case "sub":
            try await open(.sub, o) { socket in
                socket.subscribe(to: "")
                try await receiveAll(socket, "sub", o)
            }
        case "req": try await open(.req, o) { try await ask($0, "req", o) }
        case "rep": try await open(.rep, o) { try await serve($0, o) }
        case "proxy":
            guard let frontend = o.bind, let backend = o.connect else { exit(64) }
            try await withZMQSocket(.pull, bind: frontend) { pull in
                try await withZMQSocket(.push, bind: backend) { push in try await ZMQProxy(frontend: pull, backend: push).run() }
            }
        case "pushpull", "pubsub", "reqrep":
            guard let endpoint = o.bind else { exit(64) }
            var far = o, near = o
            (far.connect, near.bind, near.connect) = (nil, nil, endpoint)
            let one = far, other = near
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    switch role {
                    case "pushpull": try await open(.push, one) { try await sendAll($0, nil, one) }
                    case "pubsub": try await open(.pub, one) { try await sendAll($0, nil, one) }
                    default: try await open(.rep, one) { try await serve($0, one) }
                    }
                }
                switch role {
                case "pushpull": try await open(.pull, other) { try await receiveAll($0, role, other) }
                case "pubsub":
                    try await open(.sub, other) { socket in
                        socket.subscribe(to: "")
                        try await receiveAll(socket, role, other)
                    }
                default: try await open(.req, other) { try await ask($0, role, other) }
                }
                try await group.waitForAll()
            }
        default: exit(64)
        }
    }

    private static func open<Pattern: ZMQPattern>(
        _ pattern: Pattern, _ o: Options, _ body: @escaping @Sendable (ZMQSocket<Pattern>) async throws -> Void
    ) async throws {
        var options = ZMQSocketOptions()
        (options.sendHighWaterMark, options.receiveHighWaterMark) = (o.mark, o.mark)
        if let bind = o.bind {
            try await withZMQSocket(pattern, bind: bind, options: options, runsOnLoop: o.runsOnLoop, body)
        } else {
            try await withZMQSocket(pattern, connect: o.connect ?? "", options: options, runsOnLoop: o.runsOnLoop, body)
        }
    }

    // MARK: Roles

    private static func sendAll<Pattern: ZMQSender>(_ socket: ZMQSocket<Pattern>, _ name: String?, _ o: Options) async throws {
        try await Task.sleep(for: .milliseconds(o.wait))
        let began = now(), cpu = ProcessUse().processorTime
        var frame = [UInt8](repeating: UInt8(ascii: "x"), count: o.size)
        for sequence in 0..<o.count {
            if o.size >= 16 { stamp(&frame, UInt32(truncatingIfNeeded: sequence)) }
            try await socket.send(frame)
        }
        let seconds = Double(now() - began) / 1e9
        await socket.close()
        if let name { report(name, o, o.count, seconds, lost: 0, cpu, []) }
        if socket.counters.droppedAtMark > 0 { complain("dropped \(socket.counters.droppedAtMark)") }
    }

    private static func stamp(_ frame: inout [UInt8], _ sequence: UInt32) {
        var head = UInt64(sequence), time = UInt64(bitPattern: now())
        for at in 0..<8 {
            frame[at] = UInt8(truncatingIfNeeded: head)
            frame[at + 8] = UInt8(truncatingIfNeeded: time)
            (head, time) = (head >> 8, time >> 8)
        }
    }

    private static func receiveAll<Pattern: ZMQReceiver>(_ socket: ZMQSocket<Pattern>, _ name: String, _ o: Options) async throws {
        if o.readsInPlace { return try await readAll(socket, name, o) }
        var count = 0, next: UInt32 = 0, odd = 0, began: Int64 = 0, ended: Int64 = 0, cpu = Duration.zero
        while count < o.count {
            let message: ZMQMessage
            do { message = try await count == 0 ? socket.receive() : receive(socket) } catch ZMQError.timedOut { break }
            if count & 15 == 0 || count + 1 >= o.count { ended = now() }
            if count == 0 { (began, cpu) = (ended, ProcessUse().processorTime) }
            count += 1
            if message.byteCount != o.size {
                odd += 1
            } else if o.size >= 16 {
                let bytes = message.span(of: 0)
                let sequence = UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
                if sequence < next { odd += 1 }
                next = sequence &+ 1
            }
        }
        report(name, o, count, Double(ended - began) / 1e9, lost: o.count - count + odd, cpu, [])
    }

    /// The same in place.
    private static func readAll<Pattern: ZMQReceiver>(_ socket: ZMQSocket<Pattern>, _ name: String, _ o: Options) async throws {
        var count = 0, next: UInt32 = 0, odd = 0, began: Int64 = 0, ended: Int64 = 0, cpu = Duration.zero
        while count < o.count {
            let wait: Duration? = count == 0 ? nil : .seconds(3)
            do {
                try await socket.withBatch(timeout: wait) { batch in
                    ended = now()
                    if count == 0 { (began, cpu) = (ended, ProcessUse().processorTime) }
                    while batch.next() {
                        count += 1
                        let bytes = batch.span(of: 0)
                        guard bytes.count == o.size, o.size >= 16 else { odd += bytes.count == o.size ? 0 : 1; continue }
                        let sequence = UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
                        if sequence < next { odd += 1 }
                        next = sequence &+ 1
                    }
                    ended = now()
                }
            } catch ZMQError.timedOut { break }
        }
        report(name, o, count, Double(ended - began) / 1e9, lost: o.count - count + odd, cpu, [])
    }

    /// Three seconds of silence end it.
    private static func receive<Pattern: ZMQReceiver>(_ socket: ZMQSocket<Pattern>) async throws -> ZMQMessage {
        if let message = socket.tryReceive() { return message }
        return try await socket.receive(timeout: .seconds(3))
    }

    private static func serve(_ socket: ZMQSocket<ZMQRep>, _ o: Options) async throws {
        for _ in 0..<o.count {
            let request = try await socket.nextRequest(), message = request.message
            try await request.reply(message)
        }
    }

    private static func ask(_ socket: ZMQSocket<ZMQReq>, _ name: String, _ o: Options) async throws {
        let message = ZMQMessage([UInt8](repeating: UInt8(ascii: "q"), count: o.size))
        var times: [Int64] = []
        times.reserveCapacity(o.count)
        _ = try await socket.request(message)
        let cpu = ProcessUse().processorTime, began = now()
        for _ in 1..<o.count {
            let start = now()
            guard try await socket.request(message) == message else { complain("another reply"); continue }
            times.append(now() - start)
        }
        report(name, o, o.count, Double(now() - began) / 1e9, lost: 0, cpu, times.sorted())
    }

    // MARK: Figures

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func report(_ name: String, _ o: Options, _ count: Int, _ seconds: Double, lost: Int, _ cpu: Duration, _ times: [Int64]) {
        let used = (ProcessUse().processorTime - cpu) / .seconds(1)
        var text =
            "{\"tool\":\"bench-zmq\",\"pattern\":\"\(name)\",\"size\":\(o.size),\"n\":\(count),\"secs\":\(seconds),\"per_s\":\(Int(Double(count) / seconds)),"
        text += "\"own_cpu_s_per_M\":\(used / Double(max(count, 1)) * 1e6),\"lost\":\(lost)"
        if !times.isEmpty { text += ",\"p50_us\":\(Double(times[times.count / 2]) / 1e3),\"p99_us\":\(Double(times[times.count * 99 / 100]) / 1e3)" }
        print(text + "}")
    }

    private static func complain(_ text: String) { print("{\"error\":\"\(text)\"}") }
}
