/** Reads a directory archive back, byte for byte, and has it verified. */

import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { directoryArchive } from '../../src/archive/directory.ts'
import { verify } from '../../src/archive/verify.ts'
import { readHead } from '../../src/record/parse-line.ts'
import type { VerifyReport } from '../../src/record/verdict.ts'

export interface ReadArchive {
  /** Lines of a writer in order of seq, each once. */
  linesOf(writer: string): readonly string[]
  readonly writers: readonly string[]
  /** Lines as often as they lie there. */
  readonly copies: number
  /** First lines of all segments. */
  readonly segments: readonly { readonly writer: string; readonly firstSeq: number; readonly previous: string | null }[]
  readonly largest: number
  readonly report: VerifyReport
}

/** Throws when two copies of a frame differ. */
export async function readArchive(path: string): Promise<ReadArchive> {
  const lines = new Map<string, Map<number, string>>()
  const segments: ReadArchive['segments'][number][] = []
  let copies = 0
  let largest = 0
  for await (const name of glob('**/*.jsonl.gz', { cwd: path })) {
    const bytes = await readFile(join(path, name))
    largest = Math.max(largest, bytes.length)
    for (const line of gunzipSync(bytes).toString().split('\n')) {
      if (line.startsWith('{"kind":"segment"')) segments.push(JSON.parse(line))
      if (!line.startsWith('{"writer":')) continue
      const head = readHead(line)
      if (head === undefined) throw new Error(`${name} holds a line that is no frame: ${line.slice(0, 200)}`)
      copies++
      const ofWriter = lines.get(head.writer) ?? new Map<number, string>()
      lines.set(head.writer, ofWriter)
      const before = ofWriter.get(head.seq)
      if (before !== undefined && before !== line) throw new Error(`two copies of ${head.writer} ${head.seq} differ`)
      ofWriter.set(head.seq, line)
    }
  }
  return {
    linesOf: writer => [...(lines.get(writer) ?? [])].sort(([a], [b]) => a - b).map(([, line]) => line),
    writers: [...lines.keys()],
    copies,
    segments: segments.sort((a, b) => a.firstSeq - b.firstSeq),
    largest,
    report: await verify({ archive: await directoryArchive(path) }, { now: Date.now }),
  }
}
