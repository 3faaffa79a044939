/**
 * Which values each label can have, for docs/metrics.md; by label, or `metric.label` where one metric means something else.
 * Sets that the code has as types or constants are taken from there, so that a new value cannot be forgotten.
 */

import { INJECT_REASONS, SKIP_REASONS } from '../../src/inject/reasons.ts'
import type { WorkResult } from '../../src/kube/work-queue.ts'
import { ERROR_TYPES, METHODS } from '../../src/platform/metric-labels.ts'
import type { AwsProblem } from '../../src/platform/aws/failure.ts'
import type { FrameKind, Outcome } from '../../src/record/frame.ts'
import type { PolicyFileState } from '../../src/recorder/mounted-policies.ts'
import type { Counts } from '../../src/operator/coverage/decide.ts'
import type { Step } from '../../src/webhook/certificates/rotation.ts'

/** Every member of a union, or the compiler says which one is missing. */
function all<T extends string>(members: Readonly<Record<T, true>>): string {
  return listed(Object.keys(members))
}

function listed(values: Iterable<string>): string {
  return [...values].map(each => `\`${each}\``).join(', ')
}

export const METRIC_LABELS: Readonly<Record<string, string>> = {
  kind: all<FrameKind>({
    'writer.start': true, 'writer.stop': true, 'session.start': true, 'session.end': true, 'exchange.start': true, 'exchange.end': true,
    mcp: true, http: true, body: true, access: true, policy: true, gap: true,
  }),
  outcome: all<Outcome>({ ok: true, error: true, denied: true, cancelled: true, cut: true }),
  'steno_accesses_total.outcome': '`allowed`, `refused`',
  'steno_blocked_total.reason': '`recording` (it cannot record), `unreadable-request` (no HTTP that can be passed on)',
  'steno_gaps_total.reason': listed(['blocked', 'unrecorded', 'cut', 'torn-tail', 'damage', 'quarantined', 'spool-full', 'spool-failed']),
  result: '`accepted`, `quarantined`, or, to be tried again, the part of the [error code](errors.md) after `sink.`; `failed` for any other',
  'steno_aws_calls_total.result': `\`ok\`, ${all<AwsProblem>({ throttled: true, unreachable: true, credentials: true, denied: true, missing: true, exists: true, 'in-use': true, limit: true, refused: true })}`,
  'controller_runtime_reconcile_total.result': all<WorkResult>({ success: true, requeue_after: true, error: true }),
  phase: '`request`, `response`',
  mcp_method_name: `${listed(METHODS)}; \`other\``,
  gen_ai_tool_name: 'the first 100 names of tools; `other`; empty for what calls no tool',
  error_type: `${listed(ERROR_TYPES)}; \`other\`; empty when all went well`,
  state: all<PolicyFileState>({ current: true, missing: true, unreadable: true }),
  'steno_pods.state': all<keyof Counts>({ selected: true, recorded: true, outdated: true, missing: true, skipped: true }),
  name: 'name of the controller',
  'steno_policy_info.name': 'of the policies that select the pod',
  hash: 'of what these policies say together',
  decision: '`inject`, `skip`',
  reason: listed([...Object.keys(INJECT_REASONS), ...Object.keys(SKIP_REASONS)]),
  path: '`/mutate-pod`, `/validate-pod`, `/validate-connect`, `/validate-policy`',
  status: 'of the HTTP answer',
  action: '`exec`, `attach`, `port-forward`, `ephemeral-container`',
  'steno_aws_calls_total.action': 'service and call, such as `iam:CreateRole`',
  recorded: '`true`, `false`: whether a frame says so',
  step: all<Exclude<Step, 'wait'> | 'trust' | 'failed'>({ begin: true, drop: true, announce: true, observe: true, unobserve: true, promote: true, renew: true, trust: true, failed: true }),
  objects: 'the kind of object that is watched, such as `pods`',
  namespace: 'of the policy',
  policy: 'name of the policy',
  controller: 'one for each folder of `src/operator/`',
  'leader_election_master_status.name': '`steno-operator`',
  method: 'HTTP method',
  code: 'HTTP status; `<error>` when no answer came',
}
