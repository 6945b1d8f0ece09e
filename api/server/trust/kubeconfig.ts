/** A kubeconfig with everything in it: kubectl needs no other file. */
import { printYaml } from '../../resources/yaml.js';

export interface KubeconfigContent {
  /** Of the user. */
  readonly name: string;
  /** https URL. */
  readonly server: string;
  /** PEM, as the other two. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

export function renderKubeconfig({ name, server, ca, certificate, key }: KubeconfigContent): string {
  const cluster = 'flotilla';
  const context = `${name}@${cluster}`;
  return printYaml({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: cluster, cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{ name, user: { 'client-certificate-data': base64(certificate), 'client-key-data': base64(key) } }],
    contexts: [{ name: context, context: { cluster, user: name } }],
    'current-context': context,
  });
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
