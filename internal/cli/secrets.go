package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// secretVerbs are the verbs of secrets. Values are sealed here: the server never has one.
type secretVerbs struct{ *call }

func (sv secretVerbs) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret VERB", GroupID: groupCluster,
		Short: "Seal values to minions, and keep them in the cluster",
		Long: "Seal values to minions, and keep them in the cluster. A value is encrypted here, by\n" +
			"age, to the keys of minions (the fact secretRecipient of each); etcd, nodes, logs and\n" +
			"backups have the sealed text. A job of the same namespace names it:\n\n" +
			"  env: {PGPASSWORD: {secret: {name: pg-password}, mask: true}}",
		Example: "  carillon secret create pg-password --target 'db*' --from-file pw.txt\n  carillon secret show pg-password",
		RunE:    needsVerb,
	}
	cmd.AddCommand(sv.listCommand(), sv.showCommand(), sv.createCommand(), sv.sealCommand(), sv.rotateCommand(), sv.resealCommand())
	return cmd
}

// sealFlags say to whom a value is sealed.
type sealFlags struct {
	target     string
	recipients []string
	file       string
}

func (f *sealFlags) add(cmd *cobra.Command, value bool) {
	cmd.Flags().StringVarP(&f.target, "target", "t", "", "seal it to the minions that match this `TARGET` now")
	cmd.Flags().StringArrayVar(&f.recipients, "recipient", nil, "seal it to this `KEY`, age1... (may be given several times)")
	if value {
		cmd.Flags().StringVar(&f.file, "from-file", "", "the `FILE` with the value; - is standard input. One line end behind it is no part of it")
	}
}

// value reads the value. It is no argument, which all on the host could see.
func (sv secretVerbs) value(f *sealFlags) (string, error) {
	if f.file == "" {
		return "", usagef("give the value by --from-file FILE, or - for standard input")
	}
	value, err := readValue(f.file, sv.opts.Stdin, job.MaxSealedValue)
	if err != nil {
		return "", unreadable(err)
	}
	if err := agesecret.CheckValue(value); err != nil {
		return "", usagef("the value %w", err)
	}
	return value, nil
}

// recipient is a key, and whose it is.
type recipient struct {
	key string
	of  []string
}

// to finds the keys to which a value is sealed, and tells them. What says whose is the
// cluster's word: who wants to be sure gives them, or compares.
func (sv secretVerbs) to(ctx context.Context, f *sealFlags, otherwise []string) ([]string, error) {
	var all []recipient
	add := func(key, of string) {
		i := slices.IndexFunc(all, func(r recipient) bool { return r.key == key })
		if i < 0 {
			all, i = append(all, recipient{key: key}), len(all)
		}
		all[i].of = append(all[i].of, of)
	}
	for _, key := range f.recipients {
		if err := agesecret.CheckRecipient(key); err != nil {
			return nil, usagef("--recipient %w", err)
		}
		add(key, "given")
	}
	if f.target != "" {
		if err := sv.addMinions(ctx, f.target, add); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		owners := map[string][]string{}
		if len(otherwise) > 0 {
			owners = sv.owners(ctx)
		}
		for _, key := range otherwise {
			add(key, "as before: "+orText(someWords(owners[key]), "no minion that is known"))
		}
	}
	if len(all) == 0 {
		return nil, usagef("say who is to open it: --target TARGET for minions, or --recipient KEY")
	}
	keys := make([]string, len(all))
	for i, r := range all {
		keys[i] = r.key
		sv.note("sealed to %s (%s)", r.key, someWords(r.of))
	}
	return keys, nil
}

// someWords are the first few of some words.
func someWords(words []string) string {
	const most = 5
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// addMinions adds the keys of the minions that a target matches, connected or not.
func (sv secretVerbs) addMinions(ctx context.Context, target string, add func(key, of string)) error {
	found, err := sv.client.Minions.Match(ctx, target)
	if err != nil {
		return err
	}
	wanted := slices.Concat(found.Minions, found.Disconnected)
	if found.Missing != "" {
		return usagef("--target: no minion is known by the name of %s", found.Missing)
	}
	if len(wanted) == 0 {
		return fmt.Errorf("--target %s: %w", target, job.ErrNoMinions)
	}
	minions, err := sv.client.Minions.List(ctx)
	if err != nil {
		return err
	}
	var without []string
	for i := range minions {
		m := &minions[i]
		if !slices.Contains(wanted, m.ID) {
			continue
		}
		key := m.Facts[job.FactSecretRecipient]
		if agesecret.CheckRecipient(key) != nil {
			without = append(without, string(m.ID))
			continue
		}
		add(key, string(m.ID))
	}
	if len(without) > 0 {
		return fmt.Errorf("%s: tells no key to which secrets can be sealed (the fact %s): update the minion, or leave it out of the target", someWords(without), job.FactSecretRecipient)
	}
	return nil
}

// seal returns the manifest of a secret.
func seal(key job.Key, value string, to []string, like *job.Secret) (*manifest.Object, error) {
	text, err := agesecret.Seal(key, value, to)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	o := &manifest.Object{Kind: job.KindSecret, Metadata: job.Metadata{Namespace: key.Namespace, Name: key.Name}}
	if like != nil {
		o.Metadata, o.Secret = like.Metadata, like.Spec
	}
	o.Secret.Sealed, o.Secret.Recipients = text, to
	return o, nil
}

// put has the cluster keep a secret.
func (sv secretVerbs) put(ctx context.Context, o *manifest.Object) error {
	text, err := manifest.Encode(*o)
	if err != nil {
		return err
	}
	results, err := sv.client.Jobs.Apply(client.Because(ctx, sv.reason), "secret "+o.Metadata.Key().String(), text, false)
	if err != nil {
		return err
	}
	return manifestVerbs(sv).printResults(results, "")
}

func (sv secretVerbs) sealCommand() *cobra.Command {
	var f sealFlags
	cmd := &cobra.Command{
		Use: "seal NAME", Args: exactlyOne("name"),
		Short: "Print the manifest of a secret, for a file that `carillon apply` takes",
		Long: "Print the manifest of a secret, for a file that `carillon apply` takes. The value is\n" +
			"sealed here, and sent nowhere: the manifest may lie where the files of jobs do.",
		Example: "  carillon secret seal pg-password --target 'db*' --from-file pw.txt > pg-password.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := sv.asked(args[0], &f)
			if err != nil {
				return err
			}
			to, err := sv.to(cmd.Context(), &f, nil)
			if err != nil {
				return err
			}
			o, err := seal(key, value, to, nil)
			if err != nil {
				return err
			}
			text, err := manifest.Encode(*o)
			if err != nil {
				return err
			}
			_, err = sv.out.Write(text)
			return err
		},
	}
	f.add(cmd, true)
	return cmd
}

// asked reads the name and the value of a secret.
func (sv secretVerbs) asked(name string, f *sealFlags) (job.Key, string, error) {
	key, err := sv.keyOf("secret", name)
	if err != nil {
		return key, "", err
	}
	value, err := sv.value(f)
	return key, value, err
}

func (sv secretVerbs) createCommand() *cobra.Command {
	var f sealFlags
	cmd := &cobra.Command{
		Use: "create NAME", Args: exactlyOne("name"),
		Short:   "Seal a value, and have the cluster keep it",
		Example: "  carillon secret create pg-password --target 'db*' --from-file pw.txt\n  pass show db | carillon secret create pg-password --recipient age1... --from-file -",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := sv.asked(args[0], &f)
			if err != nil {
				return err
			}
			switch _, err := sv.client.Secrets.Get(cmd.Context(), key); {
			case err == nil:
				return &exitError{exitConflict, fmt.Errorf("secret %s is there already; give it another value by `carillon secret rotate`", key)}
			case !errors.Is(err, job.ErrNotFound):
				return err
			}
			to, err := sv.to(cmd.Context(), &f, nil)
			if err != nil {
				return err
			}
			o, err := seal(key, value, to, nil)
			if err != nil {
				return err
			}
			return sv.put(cmd.Context(), o)
		},
	}
	f.add(cmd, true)
	reasonFlag(cmd, &sv.reason)
	return cmd
}

func (sv secretVerbs) rotateCommand() *cobra.Command {
	var f sealFlags
	cmd := &cobra.Command{
		Use: "rotate NAME", Args: exactlyOne("name"),
		Short: "Give a secret another value",
		Long: "Give a secret another value, sealed to the keys of the one before, or to those that\n" +
			"--target and --recipient name. Tasks that run keep what they have; the next start\n" +
			"has the new value.",
		Example: "  carillon secret rotate pg-password --from-file new.txt\n  carillon secret rotate pg-password --from-file pw.txt --target 'db*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := sv.asked(args[0], &f)
			if err != nil {
				return err
			}
			old, err := sv.client.Secrets.Get(cmd.Context(), key)
			if err != nil {
				return err
			}
			return sv.again(cmd.Context(), key, value, &f, &old.Secret)
		},
	}
	f.add(cmd, true)
	reasonFlag(cmd, &sv.reason)
	return cmd
}

// again seals a value of a secret that there is.
func (sv secretVerbs) again(ctx context.Context, key job.Key, value string, f *sealFlags, old *job.Secret) error {
	to, err := sv.to(ctx, f, old.Spec.Recipients)
	if err != nil {
		return err
	}
	o, err := seal(key, value, to, old)
	if err != nil {
		return err
	}
	return sv.put(ctx, o)
}

func (sv secretVerbs) resealCommand() *cobra.Command {
	var (
		f        sealFlags
		identity string
	)
	cmd := &cobra.Command{
		Use: "reseal NAME", Args: exactlyOne("name"),
		Short: "Seal the value of a secret to other keys, such as those of new hosts",
		Long: "Seal the value of a secret to other keys, such as those of new hosts. It is opened\n" +
			"here, by an identity of yours that is among its keys (--recipient when it was\n" +
			"sealed); without one, give the value anew by `carillon secret rotate`.",
		Example: "  carillon secret reseal pg-password --identity ~/.config/age/key.txt --target 'db*' --recipient age1...",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := sv.keyOf("secret", args[0])
			if err != nil {
				return err
			}
			if identity == "" {
				return usagef("give the identity that opens it by --identity FILE, or the value anew by `carillon secret rotate`")
			}
			ids, err := agesecret.ReadIdentities(identity)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("--identity: %w", err)}
			}
			old, err := sv.client.Secrets.Get(cmd.Context(), key)
			if err != nil {
				return err
			}
			value, err := agesecret.Open(key, old.Spec.Sealed, ids)
			if err != nil {
				return fmt.Errorf("secret %s %w", key, err)
			}
			return sv.again(cmd.Context(), key, value, &f, &old.Secret)
		},
	}
	f.add(cmd, false)
	cmd.Flags().StringVar(&identity, "identity", "", "a `FILE` with an identity of age that opens the value")
	reasonFlag(cmd, &sv.reason)
	return cmd
}

func (sv secretVerbs) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: noArgs,
		Short:   "List secrets",
		Example: "  carillon secret list -A",
		RunE:    func(cmd *cobra.Command, _ []string) error { return sv.list(cmd.Context(), all) },
	}
	sv.allNamespaces(cmd, &all)
	return cmd
}

func (sv secretVerbs) list(ctx context.Context, all bool) error {
	secrets, err := sv.client.Secrets.List(ctx, sv.listed(all))
	if err != nil {
		return err
	}
	return printList(&sv.printer, secrets, sv.secretTable())
}

func (sv secretVerbs) getSecretsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "secrets [NAME...]", Aliases: []string{"secret"},
		Short:   "List secrets, or show one",
		Long:    "List secrets, or show one. With -o yaml they are printed, sealed, as manifests that\n`carillon apply` takes back.",
		Example: "  carillon get secrets -A\n  carillon get secret pg-password -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return sv.list(cmd.Context(), all)
			}
			return printNamed(&sv.printer, args, sv.secretTable(), func(name string) (job.Secret, error) {
				v, err := sv.find(cmd.Context(), name)
				return v.Secret, err
			})
		},
	}
	sv.allNamespaces(cmd, &all)
	return cmd
}

func (sv secretVerbs) find(ctx context.Context, name string) (api.SecretDetail, error) {
	key, err := sv.keyOf("secret", name)
	if err != nil {
		return api.SecretDetail{}, err
	}
	return sv.client.Secrets.Get(ctx, key)
}

func (sv secretVerbs) secretTable() table[job.Secret] {
	type secret = job.Secret
	return table[secret]{
		none: "no secrets; make one with `carillon secret create NAME`",
		name: func(s secret) string { return s.Key().String() },
		manifest: func(s secret) any {
			return manifestOf[job.SecretSpec]{job.APIVersion, job.KindSecret, s.Metadata, s.Spec}
		},
		columns: []column[secret]{
			{head: "NAMESPACE", cell: func(s secret) string { return s.Namespace }},
			{head: "NAME", cell: func(s secret) string { return s.Name }},
			{head: "VERSION", cell: func(s secret) string { return strconv.Itoa(s.Version) }},
			{head: "KEYS", cell: func(s secret) string { return strconv.Itoa(len(s.Spec.Recipients)) }},
			{head: "SEALED", cell: func(s secret) string { return sv.stamp(s.SealedAt) }},
			{head: "BY", cell: func(s secret) string { return orDash(s.SealedBy) }},
			{head: "DESCRIPTION", cell: func(s secret) string { return s.Spec.Description }},
		},
	}
}

func (sv secretVerbs) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Args: exactlyOne("name"),
		Short:   "Show to whom a secret is sealed, its version, and what uses it",
		Example: "  carillon secret show pg-password",
		RunE:    func(cmd *cobra.Command, args []string) error { return sv.show(cmd.Context(), args[0]) },
	}
}

func (sv secretVerbs) describeSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use: "secret NAME", Aliases: []string{"secrets"}, Args: exactlyOne("name"),
		Short:   "Show to whom a secret is sealed, its version, and what uses it",
		Example: "  carillon describe secret pg-password",
		RunE:    func(cmd *cobra.Command, args []string) error { return sv.show(cmd.Context(), args[0]) },
	}
}

func (sv secretVerbs) show(ctx context.Context, name string) error {
	v, err := sv.find(ctx, name)
	if err != nil {
		return err
	}
	return sv.describe(v, v.Key().String(), func() error {
		owners := sv.owners(ctx)
		f := newFields(sv.out, "")
		f.add("Secret", v.Key().String())
		f.add("Description", v.Spec.Description)
		f.add("Version", strconv.Itoa(v.Version))
		f.add("Sealed", sv.stamp(v.SealedAt))
		f.add("By", orText(v.SealedBy, "(unknown: the cluster was open)"))
		f.add("Created", sv.stamp(v.CreatedAt))
		f.add("Fingerprint", "SHA256:"+v.SHA256)
		f.add("Labels", pairs(v.Labels))
		for _, key := range v.Spec.Recipients {
			f.add("Sealed to", key+"  "+orText(someWords(owners[key]), "(no minion that is known)"))
		}
		for _, k := range v.Jobs {
			f.add("Used by", "job "+k.String())
		}
		for _, k := range v.Queues {
			f.add("Used by", "queue "+k.String())
		}
		if len(v.Jobs)+len(v.Queues) == 0 {
			f.add("Used by", "nothing")
		}
		f.flush()
		return nil
	})
}

// owners are the minions that say that a key is theirs; of who may not list minions, none.
func (sv secretVerbs) owners(ctx context.Context) map[string][]string {
	out := map[string][]string{}
	minions, err := sv.client.Minions.List(ctx)
	if err != nil {
		return out
	}
	for i := range minions {
		if key := minions[i].Facts[job.FactSecretRecipient]; key != "" {
			out[key] = append(out[key], string(minions[i].ID))
		}
	}
	return out
}

func (sv secretVerbs) deleteSecretsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "secret NAME...", Aliases: []string{"secrets"}, Args: someOf("secret"),
		Short:   "Delete secrets that no job and no queue names",
		Example: "  carillon delete secret pg-password",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(sv).deleteNamed(cmd, job.KindSecret, args, *yes)
		},
	}
}
