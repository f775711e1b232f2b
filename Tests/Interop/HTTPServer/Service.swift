import MartletHTTP
import MartletSockets

/// The routes.
enum Service {
    static func router() -> HTTPRouter {
        var router = HTTPRouter()
        router.get("/") { _ in page }
        router.get("/hello") { request in .text("\(request.methodName) \(request.target)") }
        router.get("/fields") { request in .text(request.fields.all.map { "\($0.name): \($0.value)\n" }.joined()) }
        router.get("/long") { _ in .text(String(repeating: "again and ", count: 10_000)) }
        router.get("/fail") { _ in throw Failure() }
        router.get("/slow") { request in
            try await Task.sleep(for: .milliseconds(request.query("ms").flatMap { Int($0) } ?? 500))
            return .text("at last")
        }
        router.get("/stream") { request in
            let count = request.query("lines").flatMap { Int($0) } ?? 1000
            return HTTPResponse(contentType: .text, body: .stream { writer in for number in 0..<count { try await writer.write("line \(number)\n") } })
        }
        for method in ["POST", "PUT"] {
            // As it comes: a client may read before it has sent all.
            router.on(method, "/echo") { request in
                HTTPResponse(body: .stream { writer in for try await piece in request.body { try await writer.write(piece) } })
            }
            router.on(method, "/count") { request in
                var count = 0, sum: UInt64 = 0
                for try await piece in request.body {
                    count += piece.count
                    for byte in piece { sum &+= UInt64(byte) }
                }
                let type = request.fields["content-type"] ?? ""
                return .json(#"{"bytes":\#(count),"sum":\#(sum),"type":"\#(type.split(separator: ";").first ?? "")"}"#)
            }
        }
        router.post("/report") { request in
            print("report \(String(decoding: try await request.body.collect(), as: UTF8.self))")
            return HTTPResponse(.noContent)
        }
        // Nobody reads the content.
        router.post("/ignore") { _ in .text("ignored") }
        router.post("/json") { request in .json(try await request.body.collect()) }
        router.get("/chat") { _ in .upgrade(to: "echo") { tunnel in for try await piece in tunnel.inbound { try await tunnel.write(piece) } } }
        router.on("CONNECT", "/") { request in
            let place = request.target
            return .tunnel { tunnel in try await pass(tunnel, to: place) }
        }
        return router
    }

    private struct Failure: Error {}

    private static func pass(_ tunnel: HTTPTunnel, to place: String) async throws {
        try await TCP.withConnection(to: place) { connection in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await piece in tunnel.inbound { try await connection.write(piece) }
                    try await connection.finishWriting()
                }
                for try await piece in connection.inbound { try await tunnel.write(piece) }
                try await tunnel.finishWriting()
                try await group.waitForAll()
            }
        }
    }

    /// Runs in a browser, and reports how it went.
    private static let page = HTTPResponse.html(
        """
        <!doctype html><title>martlet</title><script>
        const check = (holds, what) => { if (!holds) throw new Error(what) }
        async function run() {
            for (let number = 0; number < 20; number++) {
                const answer = await fetch("/hello?" + number)
                check(await answer.text() == "GET /hello?" + number && answer.headers.get("content-type").startsWith("text/plain"), "get")
            }
            const sent = { name: "Mouse", price: 50, odd: "ü \\u{1F600} \\"" }
            const got = await (await fetch("/json", { method: "POST", body: JSON.stringify(sent), headers: { "Content-Type": "application/json" } })).json()
            check(JSON.stringify(got) == JSON.stringify(sent), "json")
            const long = await fetch("/long")
            check(long.headers.get("content-encoding") == "gzip" && (await long.text()).length == 100000, "gzip")
            const part = await fetch("/files/numbers.bin", { headers: { Range: "bytes=256-511" } })
            const bytes = new Uint8Array(await part.arrayBuffer())
            check(part.status == 206 && bytes.length == 256 && bytes[7] == 7 && part.headers.get("content-range") == "bytes 256-511/1048576", "range")
            const reader = (await fetch("/stream?lines=5000")).body.getReader(), decoder = new TextDecoder()
            let text = ""
            for (let piece; !(piece = await reader.read()).done;) text += decoder.decode(piece.value, { stream: true })
            check(text.split("\\n").length == 5001 && text.endsWith("line 4999\\n"), "stream")
            const form = new FormData()
            form.append("file", new Blob([new Uint8Array(300000)]), "f.bin")
            const counted = await (await fetch("/count", { method: "POST", body: form })).json()
            check(counted.bytes > 300000 && counted.type == "multipart/form-data", "form")
            check((await Promise.all(Array.from({ length: 30 }, (_, n) => fetch("/slow?ms=" + n)))).every(a => a.status == 200), "many")
            check((await fetch("/nothing")).status == 404 && (await fetch("/hello", { method: "DELETE" })).status == 405, "status")
            const head = await fetch("/long", { method: "HEAD" })
            check(head.ok && (await head.text()) == "", "head")
            const first = await fetch("/files/numbers.bin"), again = await fetch("/files/numbers.bin", { cache: "no-cache" })
            check((await first.arrayBuffer()).byteLength == 1048576 && (await again.arrayBuffer()).byteLength == 1048576, "cache")
            const stop = new AbortController()
            const endless = await fetch("/stream?lines=100000000", { signal: stop.signal })
            await endless.body.getReader().read()
            stop.abort()
        }
        run().then(() => "passed", error => "failed: " + error).then(text => fetch("/report", { method: "POST", body: text }))
        </script>
        """)
}
