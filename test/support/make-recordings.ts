/** Writes the recordings under test/recordings. The same bytes every time: run it after the format changed, and review the difference. */

import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { segmentMember, segmentPath, storyLines, writeArchive, writeFileIn } from './build-recording.ts'

/** Released formats are never made anew: their recordings stay as they were written. */
export async function makeRecordings(folder: string): Promise<void> {
  const story = storyLines('writer-a')
  const whole = (lines: readonly string[], instead?: readonly string[]): Buffer => Buffer.concat([segmentMember('writer-a', lines, { to: 6 }), segmentMember('writer-a', lines, { from: 6, ...(instead === undefined ? {} : { instead }) })])
  const tail = story.slice(6)
  await mkdir(folder, { recursive: true })
  await writeFileIn(folder, 'from-the-future.jsonl.gz', segmentMember('writer-a', story, { format: 2 }))
  await writeFileIn(folder, 'cut-tail.jsonl.gz', whole(story).subarray(0, -40))
  await writeFileIn(folder, 'edited.jsonl.gz', whole(story, tail.map(line => line.replace('grüße', 'Grüße'))))
  await writeFileIn(folder, 'reordered.jsonl.gz', whole(story, [tail[1] ?? '', tail[0] ?? '', ...tail.slice(2)]))
  await writeFileIn(folder, 'duplicated.jsonl.gz', Buffer.concat([whole(story), segmentMember('writer-a', story, { from: 3, to: 9 })]))
  const current = join(folder, 'current')
  await rm(current, { recursive: true, force: true })
  await writeArchive(current, 'writer-a', story, 6)
  const other = storyLines('writer-b', { session: 'session-two', calls: 1 })
  await writeFileIn(current, segmentPath('writer-b', 0, other.length - 1), segmentMember('writer-b', other))
}

if (import.meta.main) await makeRecordings(new URL('../recordings', import.meta.url).pathname)
