/** What checking a recording came to, and the sentence that says it: what was proved, never more. */

export type Verdict = 'verified' | 'consistent' | 'incomplete' | 'broken'

export interface WriterVerdict {
  readonly writer: string
  readonly frames: number
  /** -1 when there is no frame. */
  readonly firstSeq: number
  readonly lastSeq: number
  readonly head: string | null
  readonly verdict: Verdict
  readonly holes: readonly { readonly from: number; readonly to: number }[]
  readonly missing: number
  /** First frame that may be altered; `brokenTo` the last, when that is known. */
  readonly brokenAt?: number
  readonly brokenTo?: number
  readonly reason?: string
  /** Frames that the anchor covers. */
  readonly anchored?: number
}

export interface VerifyGap {
  readonly writer: string
  readonly by: string
  readonly seq: number
  readonly reason: string
  readonly count?: number
  readonly bytes?: number
}

export interface VerifyFinding {
  readonly object: string
  readonly offset: number
  readonly reason: string
  readonly detail: string
}

export interface VerifyReport {
  readonly verdict: Verdict
  readonly sentence: string
  /** A writer is still at work: the verdict holds up to here. */
  readonly soFar: boolean
  readonly frames: number
  readonly writers: readonly WriterVerdict[]
  readonly findings: readonly VerifyFinding[]
  readonly gaps: readonly VerifyGap[]
  /** Lines whose content was cleaned on the way out: their place in the chain is checked, what they show is not. */
  readonly cleaned: readonly { readonly writer: string; readonly count: number; readonly seqs: readonly number[] }[]
  readonly anchorTime?: string
}

const ORDER: readonly Verdict[] = ['verified', 'consistent', 'incomplete', 'broken']

/** The worst counts. Nothing at all is incomplete. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  let at = verdicts.length === 0 ? ORDER.indexOf('incomplete') : 0
  for (const verdict of verdicts) at = Math.max(at, ORDER.indexOf(verdict))
  return ORDER[at] ?? 'broken'
}

/** @param by who recomputed, as it stands in the sentence: 'this command', 'this browser' */
export function verdictSentence(report: Omit<VerifyReport, 'sentence'>, by: string): string {
  const bad = report.writers.find(each => each.verdict === report.verdict)
  const several = report.writers.length > 1
  const whose = several && bad !== undefined ? `Writer ${bad.writer}: ` : ''
  const soFar = report.soFar ? ' So far: a writer is still at work.' : ''
  const cleaned = cleanedSentence(report)
  switch (report.verdict) {
    case 'broken':
      return `${whose}${brokenSentence(report, bad)} Recomputed by ${by}.${cleaned}`
    case 'incomplete':
      return `${whose}${incompleteSentence(report, bad)} Recomputed by ${by}.${soFar}${cleaned}`
    case 'consistent':
      return `${unbroken(report)}, recomputed by ${by}. ${report.anchorTime === undefined ? 'No anchor' : 'The anchor does not cover all of it'}: a cut end or a full rewrite would not show.${soFar}${cleaned}`
    case 'verified':
      return `${verifiedSentence(report, by)}${soFar}`
  }
}

function unbroken(report: Omit<VerifyReport, 'sentence'>): string {
  const [only, ...others] = report.writers
  if (only !== undefined && others.length === 0) return `Unbroken from frame ${only.firstSeq} to ${only.lastSeq}`
  return `Unbroken: ${frames(report.frames)} of ${report.writers.length} writers`
}

function verifiedSentence(report: Omit<VerifyReport, 'sentence'>, by: string): string {
  const beyond = report.writers.filter(each => each.lastSeq + 1 > (each.anchored ?? 0))
  const late = beyond.reduce((sum, each) => sum + each.lastSeq + 1 - Math.max(each.anchored ?? 0, each.firstSeq), 0)
  const time = report.anchorTime === undefined ? '' : ` of ${report.anchorTime}`
  if (late === 0) return `All ${frames(report.frames)} match the anchor${time}, recomputed by ${by}.`
  return `${frames(report.frames - late)} of ${report.frames} match the anchor${time}, recomputed by ${by}. The ${late === 1 ? 'last one was' : `other ${late} were`} written after it: consistent, not proved.`
}

function brokenSentence(report: Omit<VerifyReport, 'sentence'>, bad: WriterVerdict | undefined): string {
  if (bad?.brokenAt === undefined) {
    const finding = report.findings[0]
    return finding === undefined ? 'Something does not fit.' : `'${finding.object}' at byte ${finding.offset}: ${finding.detail}.`
  }
  const { brokenAt, brokenTo } = bad
  if (brokenTo !== undefined && brokenTo > brokenAt) return `One of frames ${brokenAt} to ${brokenTo} was altered, moved or follows a removed one. Nothing from frame ${brokenAt} on is proved.`
  return `Frame ${brokenAt} was altered, moved or follows a removed one. Nothing after it is proved.`
}

function incompleteSentence(report: Omit<VerifyReport, 'sentence'>, bad: WriterVerdict | undefined): string {
  if (bad === undefined) return report.frames === 0 ? 'There is no frame to check.' : `Something could not be read: ${report.findings[0]?.detail ?? 'see the findings'}.`
  const gap = report.gaps.find(each => each.writer === bad.writer) ?? report.gaps[0]
  const hole = bad.holes[0]
  if (hole !== undefined) {
    const whole = hole.from > bad.firstSeq && bad.firstSeq >= 0 ? `Whole up to ${hole.from - 1}; then ` : ''
    const where = bad.holes.length > 1 ? ` in ${bad.holes.length} places` : ''
    return `${whole}${frames(bad.missing)} ${bad.missing === 1 ? 'is' : 'are'} missing${where}, the first ${hole.from}${gap === undefined ? '' : `: ${gap.reason}`}.`
  }
  if (gap !== undefined) return `Whole from frame ${bad.firstSeq} to ${bad.lastSeq}, but frame ${gap.seq} of ${gap.by} says that something is missing: ${gap.reason}.`
  return `Whole from frame ${bad.firstSeq} to ${bad.lastSeq}; ${bad.reason ?? 'its end is missing'}.`
}

function cleanedSentence(report: Omit<VerifyReport, 'sentence'>): string {
  if (report.cleaned.length === 0) return ''
  const lines = report.cleaned.map(each => {
    const shown = each.seqs.slice(0, 20).join(', ')
    return `${shown}${each.count > 20 ? ` and ${each.count - 20} more` : ''}${report.writers.length > 1 ? ` of ${each.writer}` : ''}`
  })
  return ` Cleaned for export, so not as recorded: frames ${lines.join('; ')}.`
}

function frames(count: number): string {
  return count === 1 ? '1 frame' : `${count} frames`
}
