/** argv → command. The only place that exits the process or listens to signals. */

import { runCli } from './cli/program.ts'

const stopping = new AbortController()

/** A terminal, a shell or npm may deliver one Ctrl-C twice. */
const SAME_SIGNAL_MS = 1000
let stoppedAtMs = 0

// The first signal asks the command to end cleanly. The second means now.
for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15]] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) {
      if (performance.now() - stoppedAtMs > SAME_SIGNAL_MS) process.exit(128 + number)
      return
    }
    stoppedAtMs = performance.now()
    stopping.abort()
  })
}

// Nobody reads on, as in `steno list | head -1`: nothing went wrong.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  process.stderr.write(`error: cannot write the output (${error.code ?? error.message}); look at where it goes to\n`)
  process.exit(1)
})
process.stderr.on('error', () => {})

const { stdin, stdout, stderr, env } = process
const code = await runCli(process.argv.slice(2), { stdin, stdout, stderr, env, signal: stopping.signal })
// What is still on its way to a pipe goes out first; what a command left open must not keep the process.
stdout.write('', () => stderr.write('', () => process.exit(code)))
