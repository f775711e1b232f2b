// The guide's paranoid pirate: clients (the lazy pirate's), a `queue`, and any number of `worker`s, which come and go. Workers and queue say that they are
// there by heartbeats: a worker that is silent gets no work, and a queue that is silent is connected to anew. `worker 3` dies with its fourth request.
// The workers' port is the clients' and one. What is said between queue and worker is the guide's protocol: a byte 1 for "ready", 2 for "here".
import ExampleArguments
import MartletZMQ

let interval = Duration.milliseconds(Arguments.value(of: "--heartbeat").flatMap(Int.init) ?? 1000)
let ready = ZMQMessage([1]), here = ZMQMessage([2])
let silencesMax = 3

/// Who is free, longest first, and until when each of all workers is taken to be there.
actor Workers {
    private var free: [[UInt8]] = []
    private var expiries: [[UInt8]: ContinuousClock.Instant] = [:]

    var all: [[UInt8]] { Array(expiries.keys) }

    func heard(from worker: [UInt8], isFree: Bool) {
        expiries[worker] = .now + interval * silencesMax
        if isFree, !free.contains(worker) { free.append(worker) }
    }

    func next() -> [UInt8]? {
        expiries = expiries.filter { $0.value > .now }
        free.removeAll { expiries[$0] == nil }
        return free.isEmpty ? nil : free.removeFirst()
    }
}

func queue() async throws {
    let workers = Workers()
    try await withZMQSocket(.router, bind: Arguments.zmq(5555)) { frontend in
        try await withZMQSocket(.router, bind: Arguments.zmq(5556, first: 5555)) { backend in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await message in backend.messages {
                        let content = ZMQMessage(frames: Array(message.frames.dropFirst()))
                        await workers.heard(from: message[0], isFree: content != here)
                        if content != here, content != ready { try await frontend.send(content) }
                    }
                }
                group.addTask {
                    for try await request in frontend.messages {
                        var worker = await workers.next()
                        while worker == nil {
                            try await Task.sleep(for: interval / 50)
                            worker = await workers.next()
                        }
                        try await backend.send(ZMQMessage(frames: [worker ?? []] + request.frames))
                    }
                }
                group.addTask {
                    while true {
                        try await Task.sleep(for: interval)
                        for worker in await workers.all { try await backend.send(ZMQMessage(frames: [worker] + here.frames)) }
                    }
                }
                try await group.next()
            }
        }
    }
}

func worker() async throws {
    var wait = interval, left = Arguments.words.first.flatMap { Int($0) } ?? .max
    while left >= 0 {
        left = try await withZMQSocket(.dealer, connect: Arguments.zmq(5556, first: 5555)) { [left] socket in try await work(by: socket, left) }
        guard left >= 0 else { return print("Crash with a request") }
        print("Nothing heard from the queue, connecting again in \(wait)")
        try await Task.sleep(for: wait)
        wait = min(wait * 2, interval * 32)
    }
}

/// Until the queue is silent, or all requests but one are answered. Answers how many are left.
func work(by socket: ZMQSocket<ZMQDealer>, _ count: Int) async throws -> Int {
    var left = count, silences = 0, nextHeartbeat = ContinuousClock.now + interval
    try await socket.send(ready)
    while silences < silencesMax {
        do {
            let message = try await socket.receive(timeout: interval)
            silences = 0
            if message.count == 3 {
                left -= 1
                if left < 0 { return left }
                print("Normal reply (\(message.text))")
                try await socket.send(message)
            }
        } catch ZMQError.timedOut { silences += 1 }
        if ContinuousClock.now >= nextHeartbeat {
            nextHeartbeat = .now + interval
            try await socket.send(here)
        }
    }
    return left
}

try await Arguments.role(["queue": queue, "worker": worker])()
