package secretsmanager

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// The types of characters of a password. Punctuation is what AWS documents.
const (
	lowercase   = "abcdefghijklmnopqrstuvwxyz"
	uppercase   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	numbers     = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// Password says what a random string is made of, as GetRandomPassword does. The zero value is 32
// letters, digits and punctuation characters, with one of each type at least.
type Password struct {
	PasswordLength          *int   // 1 to 4096, default 32
	ExcludeCharacters       string // up to 4096 characters
	ExcludeLowercase        bool
	ExcludeUppercase        bool
	ExcludeNumbers          bool
	ExcludePunctuation      bool
	IncludeSpace            bool
	RequireEachIncludedType *bool // default true
}

// GenerateSecretString is a secret's random value: just the password, or, if SecretStringTemplate and
// GenerateStringKey are set, the template's JSON object with the password under that key.
type GenerateSecretString struct {
	Password
	SecretStringTemplate string
	GenerateStringKey    string
}

func (g *GenerateSecretString) generate(random io.Reader) (string, error) {
	if (g.SecretStringTemplate == "") != (g.GenerateStringKey == "") {
		return "", errors.New("SecretStringTemplate and GenerateStringKey go together")
	}
	password, err := g.draw(random)
	if err != nil || g.GenerateStringKey == "" {
		return password, err
	}
	return withKey(g.SecretStringTemplate, g.GenerateStringKey, password)
}

// draw makes a password. A type of which ExcludeCharacters leaves nothing counts as excluded.
func (p Password) draw(random io.Reader) (string, error) {
	length := 32
	if p.PasswordLength != nil {
		length = *p.PasswordLength
	}
	if length < 1 || length > 4096 {
		return "", fmt.Errorf("PasswordLength is %d, not 1 to 4096", length)
	}
	if len(p.ExcludeCharacters) > 4096 {
		return "", errors.New("ExcludeCharacters has more than 4096 characters")
	}
	var included []string
	for _, kind := range []struct {
		characters string
		wanted     bool
	}{
		{lowercase, !p.ExcludeLowercase},
		{uppercase, !p.ExcludeUppercase},
		{numbers, !p.ExcludeNumbers},
		{punctuation, !p.ExcludePunctuation},
		{" ", p.IncludeSpace},
	} {
		left := strings.Map(func(r rune) rune {
			if strings.ContainsRune(p.ExcludeCharacters, r) {
				return -1
			}
			return r
		}, kind.characters)
		if kind.wanted && left != "" {
			included = append(included, left)
		}
	}
	if len(included) == 0 {
		return "", errors.New("every character is excluded")
	}
	var password []byte
	if p.RequireEachIncludedType == nil || *p.RequireEachIncludedType {
		if length < len(included) {
			return "", fmt.Errorf("PasswordLength %d is too short for one character of each of %d types", length, len(included))
		}
		for _, characters := range included {
			i, err := below(random, len(characters))
			if err != nil {
				return "", err
			}
			password = append(password, characters[i])
		}
	}
	all := strings.Join(included, "")
	for len(password) < length {
		i, err := below(random, len(all))
		if err != nil {
			return "", err
		}
		password = append(password, all[i])
	}
	for i := len(password) - 1; i > 0; i-- { // the required ones must not stand in front
		j, err := below(random, i+1)
		if err != nil {
			return "", err
		}
		password[i], password[j] = password[j], password[i]
	}
	return string(password), nil
}

// below draws a number from 0 to n-1, each as likely as the others.
func below(random io.Reader, n int) (int, error) {
	i, err := rand.Int(random, big.NewInt(int64(n)))
	if err != nil {
		return 0, fmt.Errorf("reading randomness: %w", err)
	}
	return int(i.Int64()), nil
}
