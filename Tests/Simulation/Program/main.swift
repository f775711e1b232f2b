import Glibc
import MartletSimulation

// simulate SEED [COUNT] [--seconds=N] [--trace]: runs the seed, or as many from there, or those that N seconds are enough for; prints what
// failed, and with which seed.
let seedsPerProcess: UInt64 = 250
let arguments = CommandLine.arguments.dropFirst()
let numbers = arguments.compactMap { UInt64($0) }
let seconds = arguments.firstNonNil { $0.hasPrefix("--seconds=") ? Int($0.dropFirst(10)) : nil }
let first = numbers.first ?? 0, count = numbers.dropFirst().first ?? (seconds == nil ? 1 : .max - first)
let start = ContinuousClock.now
// A broker in memory holds itself, so what many seeds have left behind goes with their process; and a trap ends a few of them only.
if seconds == nil, count > seedsPerProcess { exit(runInProcesses() ? 0 : 1) }
var failed = 0, done: UInt64 = 0
while done < count, seconds.map({ ContinuousClock.now - start < .seconds($0) }) ?? true {
    // Where a trap was is known then, within a few.
    if count > 1, done % 20 == 0 {
        print("at seed \(first + done)")
        fflush(nil)
    }
    let seed = first + done, simulation = Simulation(seed: seed, show: arguments.contains("--trace") ? { print($0) } : nil)
    let problems = simulation.run()
    done += 1
    if count == 1 { print("seed \(seed): \(simulation.trace.step) steps, trace \(String(simulation.trace.hash, radix: 16))") }
    if problems.isEmpty { continue }
    failed += 1
    print("seed \(seed) failed; again: make sim SEED=\(seed)")
    for problem in problems { print("  \(problem)") }
}
print("\(done) seeds from \(first), \(failed) failed")
if failed > 0 { exit(1) }

extension Sequence {
    fileprivate func firstNonNil<Answer>(_ body: (Element) -> Answer?) -> Answer? {
        for element in self { if let answer = body(element) { return answer } }
        return nil
    }
}

/// Whether no seed failed.
func runInProcesses() -> Bool {
    var areRight = true
    for batch in stride(from: first, to: first + count, by: Int(seedsPerProcess)) {
        var process = pid_t(), status: Int32 = 0
        let count = min(seedsPerProcess, first + count - batch)
        var words: [UnsafeMutablePointer<CChar>?] = [strdup("simulate"), strdup("\(batch)"), strdup("\(count)"), nil]
        guard posix_spawn(&process, "/proc/self/exe", nil, nil, &words, environ) == 0, waitpid(process, &status, 0) == process else { return false }
        if status != 0 { areRight = false }
        if status & 0x7F != 0 { print("the process from seed \(batch) ended by signal \(status & 0x7F)") }
        for word in words { free(word) }
    }
    return areRight
}
