/** Everything that `steno doctor aws` looks at, in the order in which it is told. */

import type { Check } from '../check.ts'
import { BUCKET_CHECKS } from './bucket-checks.ts'
import { CLOCK_CHECK, CREDENTIALS_CHECK, PUT_CHECK, READ_CHECKS } from './right-checks.ts'
import { STREAM_CHECKS } from './stream-checks.ts'
import type { AwsSubject } from './subject.ts'

/**
 * @param stream whether there is one to look at
 * @param sts whether there is somebody to ask whose credentials these are: not, where only a store other than AWS is looked at
 */
export function awsChecks({ stream, sts }: { readonly stream: boolean; readonly sts: boolean }): readonly Check<AwsSubject>[] {
  return [...(sts ? [CREDENTIALS_CHECK, CLOCK_CHECK] : []), ...(stream ? STREAM_CHECKS : []), ...BUCKET_CHECKS, ...(stream ? [PUT_CHECK] : []), ...READ_CHECKS]
}
