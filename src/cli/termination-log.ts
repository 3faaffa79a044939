/** The last word of a recorder to whoever asks Kubernetes why it ended: the container's termination message. */

import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { errorCode } from '../platform/error-code.ts'
import type { CliIo, ExitCode } from './io.ts'
import { printable } from './printable.ts'

/** The kubelet reads no more of the file. */
const MAX_BYTES = 4096

/**
 * Runs a recorder, and writes a line to the file when something is left to know: what it says, or why it failed. Else the file is not touched.
 * @param file undefined: nothing is written
 */
export async function withTerminationLog(file: string | undefined, io: CliIo, run: (say: (line: string) => void) => Promise<ExitCode>): Promise<ExitCode> {
  const say = (line: string): void => {
    if (file !== undefined) writeLastWord(file, line, io)
  }
  try {
    return await run(say)
  } catch (error) {
    const code = errorCode(error)
    say(`did not record: ${error instanceof Error ? error.message : String(error)}${code === undefined ? '' : ` (${code})`}`)
    throw error
  }
}

/** Never throws: a message that cannot be left is no reason to end otherwise. */
function writeLastWord(file: string, line: string, io: CliIo): void {
  try {
    // A pipe without a reader fails instead of holding up the end.
    const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NONBLOCK, 0o644)
    try {
      writeSync(fd, lineOf(line))
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    io.stderr.write(`the termination message could not be written to ${printable(file)} (${errorCode(error) ?? 'unknown error'})\n`)
  }
}

/** At most 4 KiB with its end of line, cut between two characters. */
function lineOf(text: string): Buffer {
  const bytes = Buffer.from(printable(text))
  let end = Math.min(bytes.length, MAX_BYTES - 1)
  // 0b10xxxxxx goes on with the character before it.
  while (end < bytes.length && end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return Buffer.concat([bytes.subarray(0, end), Buffer.from('\n')])
}
