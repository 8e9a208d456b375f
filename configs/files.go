package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

const (
	secretMin     = 16       // bytes; 128 bits if they are random
	secretFileMax = 64 << 10 // bytes
	secretFix     = "use at least 16 random bytes, e.g. from: openssl rand -hex 32"
)

// readSecrets takes the secrets and the API key from their variable or their file each, and checks them.
func (l *loader) readSecrets() {
	c := &l.cfg
	if text, from := l.secretText("SECRET", c.SecretFile); text != "" {
		secrets, err := parseSecrets(text)
		c.Secrets = secrets
		l.refuse(from, err)
	}
	text, from := l.secretText("API_KEY", c.APIKeyFile)
	c.APIKey = text
	if text != "" {
		l.refuse(from, checkAPIKey(text))
	}
	hook, hookFrom := l.secretText("WEBHOOK_SECRET", c.WebhookSecretFile)
	c.WebhookSecret = hook
	if hook != "" {
		l.refuse(hookFrom, checkSecret(hook))
	}
	if c.Auth == AuthKey && text == "" && from == "" && l.values[Prefix+"JWT_KEYS"] == "" {
		l.refuse("AUTH", &problem{"no API key is set", "set TURNKEY_API_KEY_FILE to a file that holds one, or TURNKEY_API_KEY; or set TURNKEY_JWT_KEYS"})
	}
}

// parseSecrets reads what TURNKEY_SECRET or its file holds.
func parseSecrets(text string) ([]string, error) {
	secrets, err := parseList(text, parseWord)
	if err != nil {
		return nil, err
	}
	for i, secret := range secrets {
		if err := checkSecret(secret); err != nil {
			return nil, inEntry(i, len(secrets), err)
		}
	}
	return secrets, nil
}

// ReadSecrets reads a TURNKEY_SECRET_FILE again, under the rules of [Load]. The error says what is
// wrong and what to do about it, without a secret and without the name of the setting.
func ReadSecrets(path string) ([]string, error) {
	text, _, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	return parseSecrets(text)
}

// ReadAPIKey reads a TURNKEY_API_KEY_FILE again, as [ReadSecrets] does.
func ReadAPIKey(path string) (string, error) {
	text, _, err := readSecretFile(path)
	if err != nil {
		return "", err
	}
	return text, checkAPIKey(text)
}

// ReadWebhookSecret reads a TURNKEY_WEBHOOK_SECRET_FILE again, as [ReadSecrets] does.
func ReadWebhookSecret(path string) (string, error) {
	text, _, err := readSecretFile(path)
	if err != nil {
		return "", err
	}
	return text, checkSecret(text)
}

// secretText is the trimmed text of a secret, and the setting, without its prefix, that gave it or
// was meant to; no setting if neither is there.
func (l *loader) secretText(short, path string) (text, from string) {
	name := Prefix + short
	if l.values[name] != "" {
		if path != "" {
			l.refuse(short+"_FILE", &problem{name + " is set as well", "set only one of the two"})
		}
		if l.refused[name] {
			return "", short
		}
		return l.values[name], short
	}
	if l.values[name+"_FILE"] == "" {
		return "", ""
	}
	from = short + "_FILE"
	if path == "" { // refused
		return "", from
	}
	text, mode, err := readSecretFile(path)
	if err != nil {
		l.refuse(from, err)
		return "", from
	}
	l.warnOfReaders(from, path, mode)
	return text, from
}

// isCredential reports whether systemd guards the file (LoadCredential): its mode then says nothing.
func (l *loader) isCredential(path string) bool {
	dir := l.environ["CREDENTIALS_DIRECTORY"]
	return dir != "" && strings.HasPrefix(path, dir+"/")
}

// readSecretFile reads a small regular file; others could block the start for ever.
func readSecretFile(path string) (text string, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return "", 0, &problem{"not a regular file", "name the file that holds the secret"}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", 0, unreadable(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, secretFileMax+1))
	if err != nil {
		return "", 0, unreadable(err)
	}
	text = strings.TrimSpace(string(data))
	switch {
	case len(data) > secretFileMax:
		return "", 0, &problem{"the file is larger than 64 KiB", "name the file that holds the secret"}
	case text == "":
		return "", 0, &problem{"the file is empty", secretFix}
	}
	return text, info.Mode().Perm(), nil
}

// checkFile sees that a file that is named can be read; what it holds is seen by who uses it.
func checkFile(path, what string) (mode fs.FileMode, err error) {
	if path == "" {
		return 0, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return 0, &problem{"not a regular file", "name the file that holds " + what}
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, unreadable(err)
	}
	return info.Mode().Perm(), f.Close()
}

// warnOfReaders warns if others can read a file that holds a secret.
func (l *loader) warnOfReaders(short, path string, mode fs.FileMode) {
	if mode&0o044 != 0 && runtime.GOOS != "windows" && !l.isCredential(path) {
		unless := ""
		if mode&0o004 == 0 {
			unless = ", unless its group is there for turnkey"
		}
		l.cfg.Warnings = append(l.cfg.Warnings, fmt.Sprintf("%s%s: other users of this machine can read %s (mode %04o); chmod 600 it%s", Prefix, short, path, mode, unless))
	}
}

// unreadable is the reason of err without the path, which the fault shows already.
func unreadable(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	return &problem{"cannot read the file: " + err.Error(), "check the path, and that turnkey's user may read it"}
}

func checkSecret(s string) error {
	if strings.ContainsAny(s, "\r\n\x00") {
		return &problem{"the secret has a line break or a zero byte", "separate several secrets by commas"}
	}
	if len(s) < secretMin {
		return &problem{fmt.Sprintf("the secret has only %d bytes", len(s)), secretFix}
	}
	return nil
}

// checkAPIKey refuses keys that are guessed too easily or that no Authorization header can carry.
func checkAPIKey(s string) error {
	if !visible(s) {
		return &problem{"the key has a character that is not printable ASCII, or a space", secretFix}
	}
	if len(s) < secretMin {
		return &problem{fmt.Sprintf("the key has only %d bytes", len(s)), secretFix}
	}
	return nil
}

// findStateDir settles on the directory that systemd made if none is set, and sees that it is one.
func (l *loader) findStateDir() {
	c := &l.cfg
	fault := Fault{Name: Prefix + "STATE_DIR", Fix: "create it, or name another directory"}
	if c.StateDir == "" && !l.refused[fault.Name] {
		fault.Name = "STATE_DIRECTORY"
		c.StateDir, _, _ = strings.Cut(l.environ[fault.Name], ":")
	}
	if c.StateDir == "" {
		return
	}
	fault.Value = c.StateDir
	info, err := os.Stat(c.StateDir)
	switch {
	case err != nil:
		fault.Problem = "no such directory"
		if p := (*fs.PathError)(nil); errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) {
			fault.Problem = "cannot use the directory: " + p.Err.Error()
		}
	case !info.IsDir():
		fault.Problem = "not a directory"
	default:
		return
	}
	l.faults = append(l.faults, fault)
}
