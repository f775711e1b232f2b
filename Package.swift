// swift-tools-version: 6.2
import PackageDescription

// Where pointers are at home: C, Base and IO. Everywhere else the compiler refuses memory-unsafe code.
let unsafeRooms: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
]
let safeRooms = unsafeRooms + [.strictMemorySafety()]

/// A module of the package: folder `Sources/<folder>`, module `Martlet<name>`.
func module(_ name: String, in folder: String, needs: [Target.Dependency] = [], _ settings: [SwiftSetting] = safeRooms) -> Target {
    .target(name: "Martlet\(name)", dependencies: needs, path: "Sources/\(folder)", swiftSettings: settings)
}
func tests(_ folder: String, needs: [Target.Dependency]) -> Target {
    .testTarget(name: "\(folder.split(separator: "/").joined())Tests", dependencies: needs, path: "Tests/\(folder)", swiftSettings: unsafeRooms)
}
/// A program of the course: `Examples/01-tcp-echo-server` is `example-tcp-echo-server`.
func example(_ folder: String, needs: [Target.Dependency]) -> Target {
    .executableTarget(
        name: "example-\(folder.split(separator: "-").dropFirst().joined(separator: "-"))", dependencies: ["ExampleArguments"] + needs,
        path: "Examples/\(folder)", swiftSettings: safeRooms)
}

let program: [Target.Dependency] = [
    "CLinux", "MartletBytes", "MartletLogging", "MartletSettings", "MartletEventLoop", "MartletNet", "MartletDriver", "MartletMQTT",
    "MartletMQTTProtocol", "MartletServer", "MartletSockets", "MartletFramingProtocol", "MartletTLS", "MartletAMQP",
    "MartletAMQPProtocol", "MartletFiles", "MartletJournal", "MartletHTTP", "MartletJSON", "MartletWebSocket", "MartletZMQ",
]

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martlet", targets: ["martlet"]),
        .library(name: "MartletMQTT", targets: ["MartletMQTT"]),
        .library(name: "MartletAMQP", targets: ["MartletAMQP"]),
        .library(name: "MartletHTTP", targets: ["MartletHTTP"]),
        .library(name: "MartletWebSocket", targets: ["MartletWebSocket"]),
        .library(name: "MartletZMQ", targets: ["MartletZMQ"]),
        .library(name: "MartletSockets", targets: ["MartletSockets"]),
    ],
    targets: [
        .target(name: "CLinux", path: "Sources/C/CLinux"),
        .systemLibrary(name: "CYAML", path: "Sources/C/CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "COpenSSL", path: "Sources/C/COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        .systemLibrary(name: "CSodium", path: "Sources/C/CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CZlib", path: "Sources/C/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        module("Bytes", in: "Base/Bytes", needs: ["CLinux"], unsafeRooms),
        module("Collections", in: "Base/Collections", needs: ["CLinux", "MartletBytes"], unsafeRooms),
        module("Logging", in: "Base/Logging", needs: ["CLinux"], unsafeRooms),
        module("Settings", in: "Base/Settings", needs: ["CLinux", "CYAML"], unsafeRooms),
        module("Deflate", in: "Base/Deflate", needs: ["CZlib", "MartletBytes"], unsafeRooms),
        module("Metrics", in: "Base/Metrics"),
        module("JSON", in: "Base/JSON", needs: ["MartletBytes"]),
        module("Curve", in: "Base/Curve", needs: ["CSodium", "MartletBytes"], unsafeRooms),

        module("EventLoop", in: "IO/EventLoop", needs: ["CLinux", "MartletBytes", "MartletCollections"], unsafeRooms),
        module("Net", in: "IO/Net", needs: ["CLinux", "MartletBytes", "MartletEventLoop"], unsafeRooms),
        module("TLS", in: "IO/TLS", needs: ["CLinux", "COpenSSL", "MartletBytes", "MartletEventLoop"], unsafeRooms),
        module("Files", in: "IO/Files", needs: ["CLinux", "MartletBytes"], unsafeRooms),
        module("Pipe", in: "IO/Pipe", needs: ["CLinux", "MartletBytes", "MartletEventLoop"], unsafeRooms),

        module("MQTTProtocol", in: "Protocols/MQTT", needs: ["MartletBytes"]),
        module("FramingProtocol", in: "Protocols/Framing", needs: ["MartletBytes"]),
        module("AMQPProtocol", in: "Protocols/AMQP", needs: ["MartletBytes"]),
        module("HTTPProtocol", in: "Protocols/HTTP", needs: ["MartletBytes"]),
        module("WebSocketProtocol", in: "Protocols/WebSocket", needs: ["MartletBytes", "MartletDeflate", "MartletHTTPProtocol"]),
        module(
            "ZMTPProtocol", in: "Protocols/ZMTP", needs: ["MartletBytes", "MartletCollections", "MartletCurve", "MartletWebSocketProtocol"]),

        module("Driver", in: "Libraries/Driver", needs: ["MartletBytes", "MartletEventLoop", "MartletNet"]),
        module(
            "WebSocketLayer", in: "Libraries/WebSocketLayer",
            needs: ["MartletBytes", "MartletEventLoop", "MartletWebSocketProtocol"]),
        module("Client", in: "Libraries/Client", needs: ["MartletBytes", "MartletEventLoop", "MartletNet"]),
        module(
            "MQTT", in: "Libraries/MQTT",
            needs: [
                "MartletBytes", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletDriver", "MartletClient", "MartletMQTTProtocol",
                "MartletWebSocketLayer",
            ]),
        module(
            "AMQP", in: "Libraries/AMQP",
            needs: ["MartletBytes", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletDriver", "MartletClient", "MartletAMQPProtocol"]),

        module(
            "ZMQ", in: "Libraries/ZMQ",
            needs: [
                "CLinux", "MartletBytes", "MartletCollections", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletDriver", "MartletClient",
                "MartletWebSocketProtocol", "MartletZMTPProtocol", "MartletCurve",
            ]),

        module(
            "Sockets", in: "Libraries/Sockets",
            needs: ["CLinux", "MartletBytes", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletDriver", "MartletFramingProtocol"]),

        module(
            "HTTP", in: "Libraries/HTTP",
            needs: [
                "CLinux", "MartletBytes", "MartletDeflate", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletFiles", "MartletDriver",
                "MartletSockets", "MartletHTTPProtocol", "MartletClient",
            ]),

        module(
            "WebSocket", in: "Libraries/WebSocket",
            needs: [
                "MartletBytes", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletDriver", "MartletClient", "MartletHTTP", "MartletWebSocketProtocol",
            ]),

        module("Core", in: "Broker/Core", needs: ["MartletBytes", "MartletCollections"]),
        module("Journal", in: "Broker/Journal", needs: ["MartletBytes", "MartletCollections", "MartletFiles"]),
        module(
            "Shard", in: "Broker/Shard",
            needs: ["MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletDriver", "MartletCore", "MartletJournal"]),
        module(
            "MQTTGateway", in: "Broker/Gateways/MQTT",
            needs: [
                "MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletDriver", "MartletMQTTProtocol", "MartletCore",
                "MartletShard",
            ]),
        module(
            "AMQPGateway", in: "Broker/Gateways/AMQP",
            needs: [
                "MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletDriver", "MartletAMQPProtocol", "MartletCore",
                "MartletShard",
            ]),
        module(
            "WebSocketGateway", in: "Broker/Gateways/WebSocket",
            needs: [
                "MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletDriver", "MartletJSON",
                "MartletMQTTProtocol",
                "MartletWebSocketProtocol", "MartletCore", "MartletShard",
            ]),
        module(
            "Server", in: "Broker/Server",
            needs: [
                "CLinux", "MartletBytes", "MartletLogging", "MartletSettings", "MartletEventLoop", "MartletNet", "MartletTLS", "MartletCore", "MartletJournal",
                "MartletShard", "MartletMQTTGateway", "MartletMQTTProtocol", "MartletAMQPGateway", "MartletAMQPProtocol", "MartletSockets",
                "MartletHTTP", "MartletMetrics", "MartletWebSocketLayer", "MartletWebSocketProtocol", "MartletWebSocketGateway",
            ]),

        .executableTarget(name: "martlet", dependencies: program, path: "Sources/Apps/martlet", swiftSettings: safeRooms),

        // The core's own speed and memory, without a socket: see Benchmarks/README.md.
        .executableTarget(
            name: "bench-core", dependencies: ["MartletBytes", "MartletCollections", "MartletFiles", "MartletCore", "MartletJournal"], path: "Benchmarks/core",
            swiftSettings: unsafeRooms),

        // Echo servers by asynchronous handlers and by callbacks: see Benchmarks/sockets.py.
        .executableTarget(
            name: "bench-echo", dependencies: ["MartletBytes", "MartletEventLoop", "MartletNet", "MartletSockets"], path: "Benchmarks/echo",
            swiftSettings: unsafeRooms),

        // WebSocket echo and chat, by callbacks and by asynchronous handlers, for Benchmarks/websocket.py; and the machine's own speed, without a socket.
        .executableTarget(
            name: "bench-websocket", dependencies: ["MartletBytes", "MartletHTTP", "MartletWebSocket", "MartletWebSocketProtocol"],
            path: "Benchmarks/websocket",
            swiftSettings: unsafeRooms),

        // One ZeroMQ socket in one role, beside libzmq's `zmqload`: see Benchmarks/README.md.
        .executableTarget(
            name: "bench-zmq", dependencies: ["MartletBytes", "MartletNet", "MartletZMQ"], path: "Benchmarks/zmq", swiftSettings: unsafeRooms),

        // What Tests/Interop/test_amqp_client.py drives.
        .executableTarget(name: "interop-amqp-client", dependencies: ["MartletAMQP"], path: "Tests/Interop/AMQPClient", swiftSettings: unsafeRooms),

        // What Tests/Interop/test_http_peers.py sends requests to.
        .executableTarget(
            name: "interop-http-server", dependencies: ["MartletHTTP", "MartletSockets"], path: "Tests/Interop/HTTPServer", swiftSettings: unsafeRooms),

        // What Autobahn|Testsuite runs its cases against, and Benchmarks/websocket.py its loads.
        .executableTarget(
            name: "interop-websocket-echo", dependencies: ["MartletLogging", "MartletWebSocket"], path: "Tests/Interop/WebSocketEcho",
            swiftSettings: unsafeRooms),

        // What Tests/Interop/test_zmtp_machine.py puts between itself and libzmq.
        .executableTarget(
            name: "interop-zmtp", dependencies: ["MartletBytes", "MartletCurve", "MartletZMTPProtocol"], path: "Tests/Interop/ZMTPPeer",
            swiftSettings: unsafeRooms),

        // One socket of any type, which Tests/Interop/test_zmq_*.py put beside libzmq's.
        .executableTarget(name: "interop-zmq", dependencies: ["MartletNet", "MartletZMQ"], path: "Tests/Interop/ZMQPeer", swiftSettings: unsafeRooms),

        .target(name: "ExampleArguments", path: "Examples/Arguments", swiftSettings: unsafeRooms),
        example("01-tcp-echo-server", needs: ["MartletSockets"]),
        example("02-tcp-echo-client", needs: ["MartletSockets"]),
        example("03-udp-echo-server", needs: ["MartletSockets"]),
        example("04-udp-echo-client", needs: ["MartletSockets"]),
        example("05-async-tcp-server", needs: ["MartletSockets"]),
        example("06-async-udp-server", needs: ["MartletSockets"]),
        example("07-peer-to-peer", needs: ["MartletSockets"]),
        example("08-amqp-hello", needs: ["MartletAMQP"]),
        example("09-amqp-work-queues", needs: ["MartletAMQP"]),
        example("10-amqp-publish-subscribe", needs: ["MartletAMQP"]),
        example("11-amqp-routing", needs: ["MartletAMQP"]),
        example("12-amqp-topics", needs: ["MartletAMQP"]),
        example("13-items", needs: ["MartletHTTP"]),
        example("14-chat", needs: ["MartletWebSocket"]),
        example("15-polling", needs: ["MartletSockets", "MartletWebSocket"]),
        example("16-zmq-request-reply", needs: ["MartletZMQ"]),
        example("17-zmq-publish-subscribe", needs: ["MartletZMQ"]),
        example("18-zmq-pipeline", needs: ["MartletZMQ"]),
        example("19-zmq-lazy-pirate", needs: ["MartletZMQ"]),
        example("20-zmq-paranoid-pirate", needs: ["MartletZMQ"]),

        // A broker in memory, for tests; and the simulator: `make sim`.
        .target(
            name: "MartletSimulation",
            dependencies: [
                "MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletPipe", "MartletCore", "MartletJournal", "MartletShard",
                "MartletMQTTGateway", "MartletMQTTProtocol", "MartletAMQPGateway", "MartletAMQPProtocol", "MartletServer",
            ], path: "Tests/Simulation/Engine", swiftSettings: unsafeRooms),
        .executableTarget(name: "simulate", dependencies: ["MartletSimulation"], path: "Tests/Simulation/Program", swiftSettings: unsafeRooms),
        .testTarget(name: "SimulationTests", dependencies: ["MartletSimulation"], path: "Tests/Simulation/Tests", swiftSettings: unsafeRooms),

        .target(name: "MartletTestSupport", dependencies: ["MartletFiles"], path: "Tests/Support", swiftSettings: unsafeRooms),
        tests("Base", needs: ["CLinux", "MartletBytes", "MartletCollections", "MartletJSON", "MartletLogging", "MartletMetrics", "MartletSettings"]),
        tests(
            "IO",
            needs: [
                "CLinux", "MartletBytes", "MartletCollections", "MartletEventLoop", "MartletNet", "MartletFiles", "MartletPipe", "MartletTLS", "MartletSockets",
                "MartletTestSupport",
            ]),
        tests(
            "Laws",
            needs: [
                "MartletBytes", "MartletMQTTProtocol", "MartletFramingProtocol", "MartletAMQPProtocol", "MartletHTTPProtocol", "MartletWebSocketProtocol",
                "MartletDeflate", "MartletZMTPProtocol", "MartletCurve",
            ]),
        tests(
            "Protocols",
            needs: [
                "MartletBytes", "MartletMQTTProtocol", "MartletFramingProtocol", "MartletAMQPProtocol", "MartletHTTPProtocol", "MartletWebSocketProtocol",
                "MartletDeflate", "MartletZMTPProtocol", "MartletCurve",
            ]),
        tests(
            "Libraries",
            needs: [
                "CLinux", "MartletBytes", "MartletEventLoop", "MartletNet", "MartletPipe", "MartletDriver", "MartletClient", "MartletMQTT",
                "MartletMQTTProtocol",
                "MartletSockets", "MartletFramingProtocol", "MartletAMQP", "MartletAMQPProtocol",
                "MartletDeflate", "MartletHTTP", "MartletHTTPProtocol", "MartletTLS", "MartletWebSocket", "MartletWebSocketLayer", "MartletWebSocketProtocol",
                "MartletZMQ", "MartletZMTPProtocol",
            ]),
        tests(
            "Broker",
            needs: [
                "CLinux", "MartletBytes", "MartletCollections", "MartletLogging", "MartletEventLoop", "MartletNet", "MartletFiles", "MartletPipe",
                "MartletCore", "MartletJournal", "MartletShard", "MartletMQTTGateway", "MartletMQTTProtocol", "MartletAMQPGateway", "MartletAMQPProtocol",
                "MartletServer", "MartletWebSocketGateway", "MartletWebSocketProtocol",
                "MartletSettings", "MartletSockets", "MartletSimulation", "MartletTestSupport", "MartletMetrics",
            ]),
        tests("Apps", needs: ["martlet", "MartletLogging", "MartletNet", "MartletMQTT", "MartletMQTTProtocol", "MartletAMQP", "MartletHTTP"]),
        tests("Tidy", needs: []),
    ],
    swiftLanguageModes: [.v6]
)
