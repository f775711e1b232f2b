// The course's chat: what one says, the others hear, with the port that it came from. Its page is on the same port.
import ExampleArguments
import MartletWebSocket

let room = WebSocketRoom()
let chat = WebSocketEndpoint { connection in
    print("Client connected: \(connection.peer)")
    await room.join(connection)
    for try await message in connection.messages {
        room.broadcast(.text("[\(connection.peer.port)]: \(message.text)"), except: connection)
    }
    print("Client disconnected: \(connection.peer)")
}
let page = """
    <!DOCTYPE html><title>WebSocket Chat</title><meta name="viewport" content="width=device-width">
    <ul id="messages"></ul><form id="say"><input id="text" autofocus><button>Send</button></form>
    <script>
      const socket = new WebSocket(location.href.replace("http", "ws")), list = document.getElementById("messages"), text = document.getElementById("text");
      const add = (words) => list.append(Object.assign(document.createElement("li"), { textContent: words }));
      socket.onmessage = (event) => add(`Server: ${event.data}`);
      document.getElementById("say").onsubmit = (event) => { event.preventDefault(); socket.send(text.value); add(`Client: ${text.value}`); text.value = ""; };
    </script>
    """
let server = Task {
    try await HTTPServer.serve(on: Arguments.chat, ready: { print("Serving on ws://\($0)") }) { request in
        request.upgrades.isEmpty && request.path == "/" ? .html(page) : try chat.respond(to: request)
    }
}
Arguments.cancelWhenAsked(server)
try await server.value
