public enum Server { public static func run(_ configuration: ServerConfiguration) -> Int32 { 0 } }
