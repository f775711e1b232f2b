import MartletSockets
import Testing

@testable import martlet

@Suite struct UDPOptionsTests {
    private func listen(_ words: String...) throws(CommandFailure) -> UDPListenCommand.Options {
        try UDPListenCommand.Options(Arguments(words, for: UDPListenCommand.command))
    }

    private func connect(_ words: String...) throws(CommandFailure) -> UDPConnectCommand.Options {
        try UDPConnectCommand.Options(Arguments(words, for: UDPConnectCommand.command))
    }

    @Test func `without words it is the course's place`() throws {
        #expect(try listen().place == .internet(host: "127.0.0.1", port: 65_432))
        #expect(try connect().place == .internet(host: "127.0.0.1", port: 65_432))
        #expect(try connect().patience == .seconds(1))
    }

    @Test func `members of a group listen on every address of its family and share the port`() throws {
        let four = try listen("--join", "239.1.2.3", "--port", "5000"), six = try listen("--join", "ff02::1", "--port", "5000")
        #expect(four.place == .internet(host: "0.0.0.0", port: 5_000) && four.datagrams.reuseAddress)
        #expect(six.place == .internet(host: "::", port: 5_000))
        #expect(try listen("239.1.2.3:5000", "--join", "239.1.2.3").place == .internet(host: "239.1.2.3", port: 5_000))
        #expect(try !listen("--port", "5000").datagrams.reuseAddress)
    }

    @Test(arguments: [["--interface", "lo"], ["--max", "0"], ["--max", "65536"], ["nonsense"], ["-W", "-1"]])
    func `what makes no sense is refused`(words: [String]) {
        #expect { try UDPListenCommand.Options(Arguments(words, for: UDPListenCommand.command)) } throws: { ($0 as? CommandFailure)?.code == ExitCode.usage }
    }

    @Test func `a local address may lack its port`() throws {
        #expect(try connect("--bind", "127.0.0.2").datagrams.localAddress == "127.0.0.2:0")
        #expect(try connect("--bind", "::1").datagrams.localAddress == "[::1]:0")
        #expect(try connect("--bind", "fe80::1").datagrams.localAddress == "[fe80::1]:0")
        #expect(try connect("--bind", "@name").datagrams.localAddress == "@name")
        #expect(try connect("--bind", "127.0.0.2:99").datagrams.localAddress == "127.0.0.2:99")
        #expect(try connect("--bind", "[::1]:99").datagrams.localAddress == "[::1]:99")
        let options = try connect("--multicast-ttl", "4", "--no-multicast-loop", "--broadcast", "--interface", "lo").datagrams
        #expect(options.multicastTTL == 4 && !options.multicastLoopback && options.broadcast && options.multicastInterface == "lo")
    }
}
