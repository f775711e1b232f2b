@preconcurrency import Glibc

/// The place that an example is about: `--host HOST --port PORT`, by default the course's 127.0.0.1:65432.
public enum Arguments {
    public static var place: String {
        setvbuf(stdout, nil, _IOLBF, 0)  // what is printed is seen at once, also in a pipe
        let host = value(of: "--host") ?? "127.0.0.1"
        return (host.contains(":") ? "[\(host)]" : host) + ":" + (value(of: "--port") ?? "65432")
    }

    /// The word after an option.
    public static func value(of name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}
