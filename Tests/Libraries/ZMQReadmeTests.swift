import MartletZMQ
import Testing

/// The README's code, word for word but for the endpoint (Tests/Interop/test_examples.py compares them).
@Suite struct ZMQReadmeTests {
    @Test("README: a REP that answers") func replies() async throws {
        let endpoint = "inproc://readme"
        let server = Task {
            try await withZMQSocket(.rep, bind: "\(endpoint)") { socket in
                try await socket.serve { question in ZMQMessage("you said " + question.text) }
            }
        }
        defer { server.cancel() }
        let answer = try await withZMQSocket(.req, connect: endpoint) { socket in try await socket.request(ZMQMessage("hello"), timeout: .seconds(20)) }
        #expect(answer.text == "you said hello")
    }
}
