// The course's REST service: two items that have names, and others that are made up, as JSON.
import ExampleArguments
import MartletHTTP

var items = [1: #"{"name":"Laptop","price":1200}"#, 2: #"{"name":"Mouse","price":50}"#]
for id in 3...100 { items[id] = #"{"name":"Item \#(id)","price":\#(id * 10)}"# }
let stock = items

var router = HTTPRouter()
router.get("/") { _ in .json(#"{"message":"Ola, API!"}"#) }
router.get("/items/{item_id}") { request in
    guard let id = request.integer("item_id") else { return .json(#"{"detail":"item_id is a whole number"}"#, status: .unprocessableContent) }
    guard let item = stock[id] else { return .json(#"{"detail":"Item not found"}"#, status: .notFound) }
    return .json(item)
}

let server = Task { try await HTTPServer.serve(on: Arguments.http, ready: { print("Serving on http://\($0)") }, router) }
Arguments.cancelWhenAsked(server)
try await server.value
