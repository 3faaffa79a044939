/** Checks a recording: reads it anew, recomputes every chain, compares every claim, and says what that proves. */

import type { SessionSummary } from '../record/recording.ts'
import { verdictSentence, worst } from '../record/verdict.ts'
import type { Verdict, VerifyGap, VerifyReport, WriterVerdict } from '../record/verdict.ts'
import type { Anchor } from './anchor.ts'
import type { Archive, Finding } from './archive.ts'
import { inOrder } from './in-order.ts'
import { readCheckRecords } from './read-check-records.ts'
import { settleVersions } from './settle-versions.ts'
import { MAX_FINDINGS, planCheck } from './verify-places.ts'
import type { CheckPlan } from './verify-places.ts'
import { WriterCheck } from './writer-check.ts'

/** As in the catalog: a writer that was quiet for longer and has not stopped was cut. */
const LIVE_MS = 35 * 60_000

export interface VerifyRequest {
  readonly archive: Archive
  /** Only the writers of this session, and only what touches it. */
  readonly session?: SessionSummary
  readonly anchor?: Anchor
}

export interface VerifyDeps {
  readonly now: () => number
}

export async function verify(request: VerifyRequest, deps: VerifyDeps): Promise<VerifyReport> {
  const { archive, session, anchor } = request
  const wanted = session === undefined ? undefined : new Set(session.writers)
  const plan = await settleVersions(archive, await planCheck(archive, wanted))
  const findings = new FindingList(plan.findings)
  const sessionId = session?.id ?? plan.exported?.session
  const checks: WriterCheck[] = []
  for (const writer of writersOf(plan, wanted, anchor, session !== undefined)) {
    const check = new WriterCheck(writer, {
      session: sessionId,
      anchor: anchor?.writers.find(each => each.writer === writer),
      exported: plan.exported?.writers.find(each => each.writer === writer),
    })
    for await (const batch of inOrder(plan.places.get(writer) ?? [], place => readCheckRecords(archive, plan, place, finding => findings.add(finding)))) for (const record of batch) check.take(record)
    check.finish()
    for (const finding of findings.all) if (finding.claims?.writer === writer) check.expectTo(finding.claims.lastSeq)
    checks.push(check)
  }
  return report({ checks, findings: findings.all, anchor, session, sessionId, exported: plan.exported !== undefined, nowMs: deps.now() })
}

class FindingList {
  readonly all: Finding[]
  readonly #seen = new Set<string>()

  constructor(first: readonly Finding[]) {
    this.all = [...first]
    for (const each of first) this.#seen.add(`${each.reason} ${each.offset} ${each.object}`)
  }

  /** A place with several writers is read for each of them, and told of once. */
  add(finding: Finding): void {
    const key = `${finding.reason} ${finding.offset} ${finding.object}`
    if (this.#seen.has(key) || this.all.length >= MAX_FINDINGS) return
    this.#seen.add(key)
    this.all.push(finding)
  }
}

/** Writers with frames, and those that should have some: of the anchor, of the session, of the export. */
function writersOf(plan: CheckPlan, wanted: ReadonlySet<string> | undefined, anchor: Anchor | undefined, ofSession: boolean): readonly string[] {
  const writers = new Set([...plan.places.keys(), ...(wanted ?? []), ...(plan.exported?.writers.map(each => each.writer) ?? [])])
  if (!ofSession && plan.exported === undefined) for (const each of anchor?.writers ?? []) writers.add(each.writer)
  return [...writers].sort()
}

interface ReportParts {
  readonly checks: readonly WriterCheck[]
  readonly findings: readonly Finding[]
  readonly anchor: Anchor | undefined
  readonly session: SessionSummary | undefined
  readonly sessionId: string | undefined
  readonly exported: boolean
  readonly nowMs: number
}

function report(parts: ReportParts): VerifyReport {
  const { checks, anchor } = parts
  const over = new Set(checks.flatMap(check => check.over))
  const isLive = (check: WriterCheck): boolean => !check.stopped && !over.has(check.writer) && Date.parse(check.lastTime) > parts.nowMs - LIVE_MS
  const gaps = checks.flatMap(check => check.gaps.filter(gap => touches(gap.seq, check, parts)).map(gapOf))
  // Another writer may have gone on with it.
  const newest = checks.reduce((last, check) => (check.sessionLastTime > last ? check.sessionLastTime : last), '')
  const sessionEnded = checks.some(check => check.sessionEnded && check.sessionLastTime === newest)
  const writers = checks.map(check => writerVerdict(check, { ...parts, gaps, live: isLive(check), sessionEnded }))
  const findings = parts.findings.map(({ object, offset, reason, detail }) => ({ object, offset, reason, detail }))
  const cleaned = checks.flatMap(check => (check.cleaned === 0 ? [] : [{ writer: check.writer, count: check.cleaned, seqs: check.cleanedSeqs }]))
  const verdict = worst([...writers.map(each => each.verdict), ...parts.findings.map(finding => findingVerdict(finding, checks))])
  const whole = {
    verdict,
    soFar: checks.some(isLive) && (parts.sessionId === undefined || !sessionEnded),
    frames: checks.reduce((sum, check) => sum + check.frames, 0),
    writers,
    findings,
    gaps,
    cleaned,
    ...(anchor === undefined ? {} : { anchorTime: anchor.time }),
  }
  return { ...whole, sentence: verdictSentence(whole, 'this command') }
}

/** Whether something at `seq` matters: always, unless a session is asked about and was over by then, or had not begun. */
function touches(seq: number, check: WriterCheck, parts: ReportParts, to = seq): boolean {
  if (parts.sessionId === undefined || check.sessionFirst < 0) return true
  return to >= check.sessionFirst && (!check.sessionEnded || seq <= check.sessionLast)
}

function writerVerdict(check: WriterCheck, parts: ReportParts & { readonly gaps: readonly VerifyGap[]; readonly live: boolean; readonly sessionEnded: boolean }): WriterVerdict {
  const holes = check.holes.filter(hole => touches(hole.from, check, parts, hole.to))
  const missing = holes.length === check.holes.length ? check.missing : holes.reduce((sum, hole) => sum + hole.to - hole.from + 1, 0)
  const broken = check.brokenAt !== undefined && (parts.sessionId === undefined || !check.sessionEnded || check.brokenAt <= check.sessionLast)
  const anchor = parts.anchor?.writers.find(each => each.writer === check.writer)
  const proved = check.anchored === 'match' && check.cleaned === 0 && (parts.sessionId === undefined || (anchor?.count ?? 0) > Math.max(check.sessionFirst, 0))
  const endless = parts.sessionId === undefined ? !check.stopped && !parts.live : !parts.sessionEnded && !parts.live
  const unsealed = check.unsealedFrom !== undefined && touches(check.unsealedFrom, check, parts, check.lastSeq) ? check.unsealedFrom : undefined
  const reason = broken ? check.reason : incompleteReason({ endless, ofSession: parts.sessionId !== undefined, unsealed })
  const gapped = parts.gaps.some(gap => gap.writer === check.writer || gap.by === check.writer)
  let verdict: Verdict = proved ? 'verified' : 'consistent'
  if (holes.length > 0 || gapped || endless || unsealed !== undefined || check.frames === 0) verdict = 'incomplete'
  if (broken) verdict = 'broken'
  return {
    writer: check.writer,
    frames: check.frames,
    firstSeq: check.firstSeq,
    lastSeq: check.lastSeq,
    head: check.head,
    verdict,
    holes,
    missing,
    ...(broken && check.brokenAt !== undefined ? { brokenAt: check.brokenAt } : {}),
    ...(broken && check.brokenTo !== undefined ? { brokenTo: check.brokenTo } : {}),
    ...(reason === undefined ? {} : { reason }),
    ...(check.anchored === 'match' && anchor !== undefined ? { anchored: anchor.count } : {}),
  }
}

function incompleteReason(facts: { readonly endless: boolean; readonly ofSession: boolean; readonly unsealed: number | undefined }): string | undefined {
  if (facts.unsealed !== undefined) return `nothing confirms the frames from ${facts.unsealed} on: their segment has no seal`
  if (!facts.endless) return undefined
  return facts.ofSession ? 'the session has no end' : 'the writer was cut: it did not write its stop'
}

/** A wrong index hides sessions, so it counts as broken. Damage counts unless every frame it is said to hold is here from elsewhere. */
function findingVerdict(finding: Finding, checks: readonly WriterCheck[]): Verdict {
  if (finding.reason === 'index') return 'broken'
  // What was used is whole; that somebody tried to hide it is told all the same.
  if (finding.reason === 'hidden' || finding.reason === 'shadowed') return 'consistent'
  const { claims } = finding
  const check = claims === undefined ? undefined : checks.find(each => each.writer === claims.writer)
  if (claims === undefined || check === undefined) return 'incomplete'
  const whole = claims.firstSeq <= claims.lastSeq && check.firstSeq <= claims.firstSeq && check.lastSeq >= claims.lastSeq && check.holes.every(hole => hole.to < claims.firstSeq || hole.from > claims.lastSeq)
  return whole ? 'verified' : 'incomplete'
}

function gapOf(frame: WriterCheck['gaps'][number]): VerifyGap {
  return {
    writer: frame.of ?? frame.writer,
    by: frame.writer,
    seq: frame.seq,
    reason: frame.reason,
    ...(frame.count === undefined ? {} : { count: frame.count }),
    ...(frame.bytes === undefined ? {} : { bytes: frame.bytes }),
  }
}
