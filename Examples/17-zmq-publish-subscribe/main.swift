// The course's publisher, which has news of three topics each second, and a `subscriber` to what begins with one of them: `subscriber 3`. A publisher
// does not wait for anybody: who comes late has missed what was said.
import ExampleArguments
import MartletZMQ

func publisher() async throws {
    try await withZMQSocket(.pub, bind: Arguments.zmq(5680)) { socket in
        let start = ContinuousClock.now
        for id in 1... {
            try await Task.sleep(for: .seconds(1))
            for topic in 1...3 { try await socket.send("\(topic)-Update! >> #\(id) >> \(ContinuousClock.now - start)") }
        }
    }
}

func subscriber() async throws {
    try await withZMQSocket(.sub, connect: Arguments.zmq(5680)) { socket in
        for topic in Arguments.words.isEmpty ? ["3"] : Arguments.words { socket.subscribe(to: topic) }
        for try await message in socket.messages { print(message.text) }
    }
}

try await Arguments.role(["publisher": publisher, "subscriber": subscriber])()
