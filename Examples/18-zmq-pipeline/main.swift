// The course's pipeline: a `ventilator` deals tasks to workers in turn, each `worker` works and pushes what came of it to the `sink`. `ventilator 2 20`
// waits for two workers and has twenty tasks; `sink 20` waits for as many results. The sink's port is the ventilator's and one.
import ExampleArguments
import MartletZMQ

let numbers = Arguments.words.compactMap(Int.init)

func ventilator() async throws {
    try await withZMQSocket(.push, bind: Arguments.zmq(5690)) { socket in
        while socket.peerCount < numbers.first ?? 1 { try await Task.sleep(for: .milliseconds(20)) }
        for id in 1...(numbers.dropFirst().first ?? 10) {
            let task = "\(id) - \(Int.random(in: 1...100))"
            try await socket.send(task)
            print("Sent: \(task)")
        }
    }
}

/// A task's second part is how long it takes, in milliseconds.
func worker() async throws {
    try await withZMQSocket(.pull, connect: Arguments.zmq(5690)) { tasks in
        try await withZMQSocket(.push, connect: Arguments.zmq(5691, first: 5690)) { results in
            for try await task in tasks.messages {
                print("Received: \(task.text)")
                let time = task.text.split(separator: " ").last.flatMap { Int($0) } ?? 10
                try await Task.sleep(for: .milliseconds(time))
                try await results.send("\(task.text.prefix { $0 != " " }) took \(time) ms")
            }
        }
    }
}

func sink() async throws {
    try await withZMQSocket(.pull, bind: Arguments.zmq(5691, first: 5690)) { socket in
        for _ in 0..<(numbers.first ?? 10) { print("Collected: \(try await socket.receive().text)") }
    }
}

try await Arguments.role(["ventilator": ventilator, "worker": worker, "sink": sink])()
