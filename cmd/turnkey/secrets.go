package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"turnkey/configs"
)

// secret is a secret value and where it came from.
type secret struct {
	values []string // the first one signs
	random bool     // made now, and forgotten when the process ends
	kept   string   // the file it is kept in
}

// findSecret returns what is set, else what the state directory keeps under
// name, else nothing.
func findSecret(set []string, dir, name string) (secret, error) {
	if len(set) > 0 {
		return secret{values: set}, nil
	}
	if dir == "" {
		return secret{}, nil
	}
	file := filepath.Join(dir, name)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return secret{}, nil
	}
	if err != nil {
		return secret{}, fmt.Errorf("read the secret kept in TURNKEY_STATE_DIR: %w", err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" {
		return secret{}, fmt.Errorf("read the secret kept in TURNKEY_STATE_DIR: %s is empty; remove it and a new one is made", file)
	}
	return secret{values: []string{value}, kept: file}, nil
}

// needSecret is findSecret for a server: if there is nothing it makes a random
// secret and keeps it, if there is a state directory.
func needSecret(set []string, dir, name string) (secret, error) {
	s, err := findSecret(set, dir, name)
	if err != nil || len(s.values) > 0 {
		return s, err
	}
	s = secret{values: []string{rand.Text()}, random: true}
	if dir == "" {
		return s, nil
	}
	s.kept, s.random = filepath.Join(dir, name), false
	if err := os.WriteFile(s.kept, []byte(s.values[0]+"\n"), 0o600); err != nil {
		return secret{}, fmt.Errorf("keep a random secret in TURNKEY_STATE_DIR: %w", err)
	}
	return s, nil
}

// Names of the files in the state directory.
const (
	secretFile = "secret"
	apiKeyFile = "api-key"
)

func apiKeySet(cfg configs.Config) []string {
	if cfg.APIKey == "" {
		return nil
	}
	return []string{cfg.APIKey}
}
