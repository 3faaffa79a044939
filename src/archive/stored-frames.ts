/** Frames of a recording, read back from the places that the catalog knows: one writer in order of seq, several merged by time. */

import { StenoError } from '../errors.ts'
import type { Frame } from '../record/frame.ts'
import { parseLine } from '../record/parse-line.ts'
import type { StoredFrame } from '../record/recording.ts'
import type { Archive } from './archive.ts'
import { inOrder } from './in-order.ts'
import { readPartsAt } from './members.ts'
import { scanLines } from './scan-lines.ts'

/** Lines of a place that is not in order are held and sorted, up to this much text. */
const MAX_UNSORTED_LENGTH = 128 * 1024 * 1024

/** Where frames of one writer lie. */
export interface Place {
  readonly object: string
  readonly offset: number
  readonly end: number
  readonly plain: boolean
  readonly writer: string
  readonly first: number
  readonly last: number
  readonly sorted: boolean
}

export interface WantedFrames {
  readonly places: readonly Place[]
  readonly wants: (frame: Frame) => boolean
}

interface Found extends StoredFrame {
  readonly seq: number
  readonly rank: number
}

/** One writer's frames in order, each once. */
export async function* writerFrames(archive: Archive, wanted: WantedFrames): AsyncGenerator<StoredFrame> {
  const places = [...wanted.places].sort((a, b) => a.first - b.first)
  let last = -1
  for await (const batch of inOrder(places, place => readPlace(archive, place, wanted.wants))) {
    for (const found of batch) {
      if (found.seq === last) continue
      last = found.seq
      yield { frame: found.frame, line: found.line }
    }
  }
}

async function* readPlace(archive: Archive, place: Place, wants: (frame: Frame) => boolean): AsyncGenerator<readonly Found[]> {
  const reader = await archive.open(place.object)
  if (reader === undefined) return
  try {
    let held: Found[] = []
    let heldLength = 0
    for await (const part of readPartsAt(place.object, reader, place)) {
      if (part.kind === 'finding') continue
      const found = foundIn(part.bytes, place.writer, wants)
      if (place.sorted) {
        yield found
        continue
      }
      held = held.concat(found)
      for (const each of found) heldLength += each.line.length
      if (heldLength > MAX_UNSORTED_LENGTH) throw new StenoError('archive.io', `'${place.object}' is too large to sort: its lines are out of order; pack it anew in the order of (writer, seq)`)
    }
    if (!place.sorted) yield held.sort((a, b) => a.seq - b.seq)
  } finally {
    await reader.close()
  }
}

function foundIn(bytes: Buffer, writer: string, wants: (frame: Frame) => boolean): Found[] {
  const found: Found[] = []
  const begins = `{"writer":"${writer}",`
  scanLines(bytes, line => {
    if (line === undefined || (!line.startsWith(begins) && !line.startsWith('{"kind":"cleaned"'))) return
    const parsed = parseLine(line)
    if (parsed.kind !== 'frame' && parsed.kind !== 'cleaned') return
    const { frame } = parsed
    if (frame.writer === writer && wants(frame)) found.push({ seq: frame.seq, rank: 0, frame, line })
  })
  return found
}

/** Merges writers by time. Within a writer seq decides, whatever its clock did. */
export async function* mergeByTime(writers: readonly AsyncIterable<StoredFrame>[]): AsyncGenerator<StoredFrame> {
  const open: { readonly frames: AsyncIterator<StoredFrame>; head: StoredFrame }[] = []
  try {
    for (const writer of writers) {
      const frames = writer[Symbol.asyncIterator]()
      const first = await frames.next()
      if (first.done !== true) open.push({ frames, head: first.value })
    }
    for (;;) {
      let least = open[0]
      if (least === undefined) return
      for (const each of open) if (each.head.frame.time < least.head.frame.time) least = each
      yield least.head
      const following = await least.frames.next()
      if (following.done === true) open.splice(open.indexOf(least), 1)
      else least.head = following.value
    }
  } finally {
    for (const each of open) await each.frames.return?.()
  }
}
