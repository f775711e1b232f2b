import MartletAMQP
import Testing

@testable import martlet

private func publish(_ words: String...) throws(CommandFailure) -> AMQPPublishOptions {
    try AMQPPublishOptions(Arguments(words, for: AMQPPublishOptions.command))
}
private func consume(_ words: String...) throws(CommandFailure) -> AMQPConsumeOptions {
    try AMQPConsumeOptions(Arguments(words, for: AMQPConsumeOptions.command))
}

private func refusal(_ parse: () throws(CommandFailure) -> Void) -> String {
    do throws(CommandFailure) {
        try parse()
        return "accepted"
    } catch { return error.code == ExitCode.usage ? error.sentence : "code \(error.code)" }
}

@Suite struct AMQPOptionsTests {
    @Test func `publish goes to a queue, or to an exchange with a key`() throws {
        let queue = try publish("--queue", "hello", "-m", "x")
        #expect((queue.exchange, queue.routingKey, queue.source, queue.count) == ("", "hello", .text("x"), 1))
        #expect(queue.properties == AMQPMessageProperties() && !queue.isMandatory)
        let exchange = try publish("--exchange", "logs", "-l", "--persistent", "--priority", "7", "--expiration", "100", "--type", "t")
        #expect((exchange.exchange, exchange.routingKey, exchange.source) == ("logs", "", .lines))
        #expect(exchange.properties.isPersistent && exchange.properties.priority == 7 && exchange.properties.expiration == "100")
        #expect(exchange.properties.type == "t")
    }

    @Test func `headers are texts, or JSON behind a colon`() throws {
        let headers = try publish("--queue", "q", "-m", "", "--header", "a=b=c", "--header", "n:=3", "--headers", "all:=[true,null,1.5,{\"x\":\"y\"}]")
        #expect(
            headers.properties.headers == [
                "a": "b=c", "n": 3, "all": .array([true, .void, .double(1.5), .table(["x": "y"])]),
            ])
    }

    @Test func `what cannot be published is refused with one sentence`() {
        #expect(refusal { () throws(CommandFailure) in _ = try publish("-m", "x") }.contains("say where"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "--key", "b", "-m", "x") }.contains("leave out"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a") }.contains("exactly one of -m TEXT, -f FILE, -l and -s"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "-l", "-n", "2") }.contains("-n repeats one message"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "-m", "", "--header", "x") }.contains("NAME=TEXT"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "-m", "", "--header", "x:=y") }.contains("not JSON"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "-m", "", "--url", "mqtt://a") }.contains("not a scheme"))
        #expect(refusal { () throws(CommandFailure) in _ = try publish("--queue", "a", "-m", "", "--cafile", "f") }.contains("amqps://"))
    }

    @Test func `consume acknowledges each, of as many as it wants`() throws {
        let options = try consume("--queue", "q")
        #expect((options.place, options.ackEvery, options.prefetch, options.messageCountMax) == (.queue("q"), 1, 250, nil))
        #expect(try consume("--queue", "q", "-n", "3").prefetch == 3)
        #expect(try consume("--queue", "q", "--ack", "500").prefetch == 500)
        #expect(try consume("--queue", "q", "--ack", "auto").ackEvery == nil)
        #expect(try consume("--exchange", "x", "--key", "a.*", "--key", "b").place == .exchange("x", keys: ["a.*", "b"]))
        #expect(try consume("--exchange", "x").place == .exchange("x", keys: [""]))
        #expect(refusal { () throws(CommandFailure) in _ = try consume() }.contains("say what"))
        #expect(refusal { () throws(CommandFailure) in _ = try consume("--queue", "q", "--key", "k") }.contains("say what"))
        #expect(refusal { () throws(CommandFailure) in _ = try consume("--queue", "q", "--ack", "9", "--prefetch", "8") }.contains("--prefetch 9"))
    }
}
