// The guide's lazy pirate: a client that asks again when no answer comes, and gives up after three tries. `server 3` answers three requests and dies with
// the fourth; start it again meanwhile, and the client goes on. A REQ that is given up can ask again at once: nothing is closed and opened by hand.
import ExampleArguments
import MartletZMQ

let timeout = Duration.milliseconds(Arguments.value(of: "--timeout").flatMap(Int.init) ?? 2500)
let count = Arguments.words.first.flatMap { Int($0) }

func server() async throws {
    try await withZMQSocket(.rep, bind: Arguments.zmq(5555)) { socket in
        for number in 0... {
            let request = try await socket.nextRequest(), text = request.message
            guard number < count ?? 3 else { return print("Crash with request (\(text))") }
            try await request.reply(text)
            print("Normal request (\(text))")
        }
    }
}

func client() async throws {
    try await withZMQSocket(.req, connect: Arguments.zmq(5555)) { socket in
        for sequence in 1...(count ?? 10) {
            var triesLeft = 3
            while triesLeft > 0 {
                do {
                    let reply = try await socket.request(ZMQMessage("\(sequence)"), timeout: timeout)
                    print("Server replied OK (\(reply))")
                    break
                } catch ZMQError.timedOut, ZMQError.peerLost {
                    triesLeft -= 1
                    print(triesLeft > 0 ? "No response from server, trying again" : "Server seems to be offline, abandoning")
                }
            }
            if triesLeft == 0 { return }
        }
    }
}

try await Arguments.role(["server": server, "client": client])()
