import MartletAMQP
import Testing

@testable import martlet

private func bench(_ words: String...) throws(CommandFailure) -> AMQPBenchOptions { try AMQPBenchOptions(Arguments(words, for: AMQPBenchOptions.command)) }

private func refusal(_ words: String...) -> String {
    do throws(CommandFailure) {
        _ = try AMQPBenchOptions(Arguments(words, for: AMQPBenchOptions.command))
        return "accepted"
    } catch { return error.code == ExitCode.usage ? error.sentence : "code \(error.code)" }
}

@Suite struct AMQPBenchTests {
    @Test func `the least is one publisher, one consumer and one queue without acknowledgements`() throws {
        let options = try bench("amqp://h:7"), load = options.load
        #expect((options.server.host, options.server.port, options.server.virtualHost) == ("h", 7, "/"))
        #expect((load.publisherCount, load.receiverCount, options.queueCount, load.payloadSize, load.copies) == (1, 1, 1, 64, 1))
        #expect(options.exchange == .default && options.ackEvery == nil && options.confirmWindow == nil && !options.isPersistent && !load.isAnswered)
    }

    @Test func `a message of a fanout exchange comes once from each queue`() throws {
        let options = try bench("amqp://h", "--exchange", "fanout", "--queues", "7", "--consumers", "3", "--ack", "50", "--confirm", "500")
        #expect((options.load.copies, options.ackEvery, options.confirmWindow) == (7, 50, 500))
        #expect(options.load.isAnswered)
        #expect(try bench("amqp://h", "--exchange", "fanout", "--queues", "7", "--consumers", "0").load.copies == 0)
        #expect(try bench("amqp://h", "--exchange", "topic", "--queues", "7").load.copies == 1)
    }

    @Test func `each queue is someone's`() {
        let numbers = Array(0..<10)
        for count in 1...12 {
            let shares = (0..<count).map { BenchLoad.share(of: numbers, index: $0, count: count) }
            #expect(Set(shares.joined()) == Set(numbers), "\(count)")
            #expect(shares.allSatisfy { !$0.isEmpty }, "\(count)")
        }
    }

    @Test func `what cannot be is refused with one sentence`() {
        #expect(refusal().contains("say one server"))
        #expect(refusal("mqtt://a").contains("not a scheme"))
        #expect(refusal("amqp://a", "--exchange", "x").contains("direct, fanout"))
        #expect(refusal("amqp://a", "--ack", "every").contains("--ack every"))
        #expect(refusal("amqp://a", "--ack", "100", "--prefetch", "50").contains("--prefetch 100"))
        #expect(refusal("amqp://a", "--cafile", "x").contains("amqps://"))
        #expect(refusal("amqp://a:0").contains("no port"))
        #expect(refusal("amqp://:5").contains("no host"))
    }
}
