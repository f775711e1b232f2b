import MartletEventLoop
import MartletHTTP
import MartletMetrics
import MartletShard

/// What the server's HTTP listeners answer to those who run it: `/health/live`, `/health/ready` and `/metrics`.
///
/// Health asks for no credentials, as probes have none. Not here: what is counted (`Survey`), and the metrics themselves (`ServerMetric`).
struct OperatorEndpoints: Sendable {
    let phase: ServerPhase
    let survey: Survey
    let authenticate: @Sendable (_ name: [UInt8]?, _ password: [UInt8]?) -> Bool
    let figures: @Sendable ([LoopFigures]) -> ServerFigures

    /// A loop that takes longer to answer is one of the reasons why the server is not ready.
    private static let patience = Duration.seconds(2)

    private static let listing = """
        /health/live   200 as long as the process answers
        /health/ready  200 while messages are taken, else 503 with the reasons
        /metrics       for Prometheus
        /mqtt          MQTT over WebSocket
        /ws            JSON over WebSocket, for pages

        """

    var router: HTTPRouter {
        var router = HTTPRouter()
        router.directions = "there are /health/live, /health/ready, /metrics, /mqtt and /ws"
        router.get("/") { _ in .text(Self.listing) }
        router.get("/health/live") { _ in Self.fresh(.json("{\"status\":\"live\"}\n")) }
        router.get("/health/ready") { _ in Self.fresh(await ready()) }
        router.get("/metrics") { try await Self.fresh(metrics($0)) }
        return router
    }

    private static func fresh(_ response: HTTPResponse) -> HTTPResponse {
        var response = response
        // The field is a valid one.
        try? response.fields.set("Cache-Control", to: "no-store")
        return response
    }

    // MARK: Health

    private func ready() async -> HTTPResponse {
        let reasons = await reasons()
        guard !reasons.isEmpty else { return .json("{\"status\":\"ready\"}\n") }
        let list = reasons.map { "\"\($0)\"" }.joined(separator: ",")
        return .json("{\"status\":\"not ready\",\"reasons\":[\(list)]}\n", status: .serviceUnavailable)
    }

    /// Why the server cannot do its work; none: it can.
    private func reasons() async -> [String] {
        switch phase.now {
        case .starting: return ["the server is starting: it reads its journal"]
        case .stopping: return ["the server is stopping"]
        case .serving: break
        }
        let loops = await survey.figures(within: Self.patience)
        var reasons = silent(loops).map { "event loop \($0) does not answer" }
        if loops.contains(where: { $0.samples.contains { $0.name == "journalFull" && $0.value > 0 } }) {
            reasons.append("the journal's disk is full or too slow: persistent messages are not taken")
        }
        return reasons
    }

    private func silent(_ answered: [LoopFigures]) -> [Int] {
        survey.loops.map(\.number).filter { number in !answered.contains { $0.loop == number } }
    }

    // MARK: Metrics

    private func metrics(_ request: HTTPRequest) async throws -> HTTPResponse {
        let credentials = request.basicCredentials
        guard authenticate(credentials?.user, credentials?.password) else {
            var failure = HTTPFailure(.unauthorized, "metrics are for the server's users: send a name and its password by Basic authentication")
            try failure.fields.set("WWW-Authenticate", to: "Basic realm=\"martlet\", charset=\"UTF-8\"")
            throw failure
        }
        let loops = await survey.figures(within: Self.patience, queuesMax: ServerFigures.queuesMax)
        // A sum without one of the loops would look like a restart.
        guard loops.count == survey.loops.count else {
            throw HTTPFailure(.serviceUnavailable, "event loop \(silent(loops).first ?? 0) does not answer")
        }
        // Long texts are made elsewhere than on the loop.
        let text = await Task.detached { ServerMetric.text(of: figures(loops)) }.value
        return HTTPResponse(contentType: HTTPContentType(stringLiteral: MetricsText.contentType), body: .bytes(text))
    }
}
