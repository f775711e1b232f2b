// The course's request and reply: `replier` answers one request, `requester` sends it. Either may be started first, and nobody stands between them.
import ExampleArguments
import MartletZMQ

func replier() async throws {
    try await withZMQSocket(.rep, bind: Arguments.zmq(5678)) { socket in
        let request = try await socket.nextRequest()
        print("Echo: \(request.message.text)")
        try await request.reply("Echo: General Kenobi")
    }
}

func requester() async throws {
    let reply = try await withZMQSocket(.req, connect: Arguments.zmq(5678)) { socket in try await socket.request("Hello There") }
    print(reply.text)
}

try await Arguments.role(["replier": replier, "requester": requester])()
