/** Sessions as lines of a table. */

import type { ClientInfo, Identity } from '../record/frame.ts'
import type { SessionSummary } from '../record/recording.ts'
import { timeUs } from '../record/timestamp.ts'
import type { Tone } from './paint.ts'
import { ageText, durationText, sizeText } from './quantity.ts'
import type { Column } from './table.ts'

const SHORT_ID = 13

/** @param sessions all that stand in the table: ids are shown as short as they can be told apart */
export function sessionColumns(sessions: readonly SessionSummary[], now: () => number): readonly Column<SessionSummary>[] {
  const length = shortLength(sessions.map(session => session.id))
  return [
    { title: 'NAME', cell: session => session.id.slice(0, length), wideCell: session => session.id },
    { title: 'SERVER', cell: session => session.server, max: 16 },
    { title: 'WORKLOAD', cell: session => session.workload, wide: true },
    { title: 'POD', cell: session => session.pod, wide: true },
    { title: 'CLIENT', cell: session => session.client?.name, max: 16 },
    { title: 'IDENTITY', cell: session => identityText(session.identity), wide: true },
    { title: 'CALLS', cell: session => session.calls },
    { title: 'ERRORS', cell: session => session.errors, tone: session => (session.errors > 0 ? 'bad' : undefined) },
    { title: 'DENIALS', cell: session => session.denials, wide: true },
    { title: 'GAPS', cell: session => session.gaps, wide: true },
    { title: 'SIZE', cell: session => sizeText(session.bytes), wide: true },
    { title: 'BASIS', cell: session => session.basis, wide: true },
    { title: 'STATE', cell: session => session.state, tone: stateTone },
    { title: 'DURATION', cell: session => durationText(sessionUs(session)) },
    { title: 'AGE', cell: session => ageText(now() - timeUs(session.started) / 1000) },
  ]
}

function stateTone(session: SessionSummary): Tone | undefined {
  return session.state === 'incomplete' || session.gaps > 0 ? 'warn' : session.state === 'live' ? 'bold' : undefined
}

/** First to last frame seen. */
export function sessionUs(session: SessionSummary): number {
  return Math.max(0, timeUs(session.lastSeen) - timeUs(session.started))
}

/** What a client says of itself proves nothing, and reads so. */
export function clientText(client: ClientInfo | undefined): string | undefined {
  return client === undefined ? undefined : `${client.name}${client.version === undefined ? '' : ` ${client.version}`} (asserted)`
}

export function identityText(identity: Identity | undefined): string | undefined {
  if (identity === undefined) return undefined
  const who = identity.subject ?? identity.clientId ?? 'token without a subject'
  return `${who}${identity.issuer === undefined ? '' : ` @ ${identity.issuer}`} (${identity.verified ? 'verified' : 'unverified'})`
}

/** Ids are cut where they still name one session each: a prefix can be pasted where an id is wanted. */
function shortLength(ids: readonly string[]): number {
  for (let length = SHORT_ID; length < 64; length += 1) {
    if (new Set(ids.map(id => id.slice(0, length))).size === new Set(ids).size) return length
  }
  return 64
}
