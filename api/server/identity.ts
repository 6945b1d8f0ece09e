/** Who is on the other end of a connection, decided once per connection, never from what a request says. */
export type Identity =
  /** The unix socket, a client certificate of group `flotilla:admins`, or plain http on loopback where that was switched on. */
  | { readonly kind: 'admin'; readonly name: string; readonly via: 'unix-socket' | 'certificate' | 'insecure-loopback' }
  /** A machine certificate: it names the machine and the uid of its Machine object. */
  | { readonly kind: 'machine'; readonly machine: string; readonly uid: string }
  | { readonly kind: 'anonymous' };

/** What a request wants, in Kubernetes' terms; the authorizer sees this and nothing else. */
export type RequestAttributes =
  | {
      readonly resource: string;
      readonly subresource?: string;
      readonly name?: string;
      readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';
    }
  | { readonly path: string; readonly method: string };

export type Decision = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };
