/** One example for each field of `spec`, for docs/policy.md. A test parses them; a field without one fails. */

export const POLICY_EXAMPLES: Readonly<Record<string, string>> = {
  selector: `selector:
  matchLabels: {app.kubernetes.io/component: mcp}
  matchExpressions: [{key: tier, operator: NotIn, values: [test]}]`,
  ports: `ports: [{port: mcp}, {port: 9090}]`,
  capture: `capture: Redirect`,
  durability: `durability: OffPod`,
  onFailure: `onFailure: Allow`,
  optOut: `optOut: Allow`,
  directPort: `directPort: Open`,
  unrecorded: `unrecorded: Refuse`,
  repair: `repair: Restart`,
  access: `access:
  connect: [{group: developers}, {user: ana@example.com}]
  view: [{group: auditors}]
  others: Refuse`,
  sink: `sink: {firehose: {stream: steno-team-a, region: eu-west-1}}`,
  aws: `aws: {policyArns: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']}`,
}
