import MartletClient
import Testing

@testable import MartletAMQP

/// Which publish a confirm, a nack and a return are about: no connection.
@Suite(.timeLimit(.minutes(10))) struct AMQPConfirmsTests {
    private var confirms = AMQPConfirms()
    private var completions = AMQPCompletions()
    private var replies: [AMQPReply<Void>] = []

    private mutating func publish(_ body: String, to key: String = "k", mandatory: Bool = false, awaitsConfirm: Bool = true) {
        let reply = AMQPReply<Void>()
        replies.append(reply)
        confirms.sent(
            AMQPPublication(
                exchange: "e", routingKey: key, properties: [], body: Array(body.utf8), completion: .reply(reply), isMandatory: mandatory,
                awaitsConfirm: awaitsConfirm))
    }

    private mutating func confirm(_ tag: UInt64, multiple: Bool = false, isAck: Bool = true) {
        confirms.confirmed(tag, multiple: multiple, isAck: isAck, &completions)
        completions.flush()
    }

    /// `.`: waits, `a`: acknowledged, `n`: nacked, `r`: came back.
    private func states() async -> String {
        var states = ""
        for reply in replies {
            reply.resolve(.failure(.closed))
            switch await reply.outcome() {
            case .success: states += "a"
            case .failure(.closed): states += "."
            case .failure(.nacked): states += "n"
            case .failure(.returned): states += "r"
            case .failure: states += "?"
            }
        }
        return states
    }

    @Test mutating func `confirms in any order, one by one and many at once`() async {
        for number in 0..<8 { publish("\(number)", awaitsConfirm: number != 5) }
        confirm(3)
        confirm(5, isAck: false)
        confirm(4, multiple: true)
        #expect(confirms.count == 2)
        confirm(4)
        confirm(99)
        confirm(7, multiple: true)
        #expect(confirms.count == 1 && confirms.removeAll().map(\.body) == [Array("7".utf8)])
        #expect(await states() == "aaaan.a.")
    }

    @Test mutating func `0 with multiple is all, and after a loss the numbers begin anew`() async {
        for number in 0..<3 { publish("\(number)") }
        confirm(0, multiple: true)
        #expect(confirms.count == 0)
        publish("3")
        #expect(confirms.removeAll().count == 1)
        publish("4")
        confirm(1)
        #expect(await states() == "aaa.a")
    }

    @Test mutating func `what comes back is told apart by where it went and what it says, equal ones by their order`() async {
        publish("x", to: "nowhere", mandatory: true)
        publish("x", to: "there", mandatory: true)
        publish("x", to: "nowhere")
        publish("y", to: "nowhere", mandatory: true)
        publish("x", to: "nowhere", mandatory: true)
        publish("x", to: "nowhere", mandatory: true)
        let back = [("nowhere", "x"), ("nowhere", "y"), ("nowhere", "x"), ("elsewhere", "x")].map { key, body in
            confirms.returned("e", key, Array(body.utf8), code: 312, text: "NO_ROUTE")
        }
        #expect(back == [true, true, true, false])
        confirm(6, multiple: true)
        #expect(await states() == "raarra")
    }
}
