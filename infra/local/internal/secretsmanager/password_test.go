package secretsmanager

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPassword(t *testing.T) {
	tests := map[string]struct {
		password Password
		length   int
		has      []string // one character of each
		hasNot   string
	}{
		"has 32 characters of all types but space": {Password{}, 32, []string{lowercase, uppercase, numbers, punctuation}, " "},
		"has the length asked for":                 {Password{PasswordLength: new(4096)}, 4096, []string{lowercase, uppercase, numbers, punctuation}, " "},
		"has one of each type, however short":      {Password{PasswordLength: new(5), IncludeSpace: true}, 5, []string{lowercase, uppercase, numbers, punctuation, " "}, ""},
		"lacks lowercase":                          {Password{ExcludeLowercase: true}, 32, []string{uppercase, numbers, punctuation}, lowercase},
		"lacks uppercase":                          {Password{ExcludeUppercase: true}, 32, []string{lowercase, numbers, punctuation}, uppercase},
		"lacks numbers":                            {Password{ExcludeNumbers: true}, 32, []string{lowercase, uppercase, punctuation}, numbers},
		"lacks punctuation":                        {Password{ExcludePunctuation: true}, 32, []string{lowercase, uppercase, numbers}, punctuation},
		"lacks single characters":                  {Password{ExcludeCharacters: `"@/\`}, 32, []string{lowercase, uppercase, numbers}, `"@/\`},
		"lacks a type by its characters":           {Password{ExcludeCharacters: numbers, PasswordLength: new(3)}, 3, []string{lowercase, uppercase, punctuation}, numbers},
		"may lack types when not required":         {Password{PasswordLength: new(1), RequireEachIncludedType: new(false)}, 1, nil, " "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			random := rand.NewChaCha8([32]byte{1})
			for range 20 {
				got, err := test.password.draw(random)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != test.length {
					t.Errorf("%q has %d characters, want %d", got, len(got), test.length)
				}
				for _, kind := range test.has {
					if !strings.ContainsAny(got, kind) {
						t.Errorf("%q has none of %q", got, kind)
					}
				}
				if strings.ContainsAny(got, test.hasNot) {
					t.Errorf("%q has one of %q", got, test.hasNot)
				}
			}
		})
	}
}

func TestPasswordThatCannotBe(t *testing.T) {
	tests := map[string]Password{
		"of more than 4096 characters":   {PasswordLength: new(4097)},
		"too short for its types":        {PasswordLength: new(3)},
		"of excluded types only":         {ExcludeLowercase: true, ExcludeUppercase: true, ExcludeNumbers: true, ExcludePunctuation: true},
		"without too many characters":    {ExcludeCharacters: strings.Repeat("x", 4097)},
		"with all characters taken away": {ExcludeCharacters: lowercase + uppercase + numbers + punctuation},
	}
	for name, password := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := password.draw(rand.NewChaCha8([32]byte{1})); err == nil {
				t.Errorf("drew %q", got)
			}
		})
	}
}

func TestEveryCharacterIsAboutAsLikely(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	first, total := map[byte]int{}, 0
	for range 200 {
		got, err := Password{PasswordLength: new(100)}.draw(random)
		if err != nil {
			t.Fatal(err)
		}
		total += len(got)
		for i := range len(got) {
			first[got[i]]++
		}
	}
	if len(first) != 94 {
		t.Errorf("%d different characters, want all 94", len(first))
	}
	for character, n := range first {
		if n < total/94/2 || n > total/94*2 {
			t.Errorf("%q came %d times of %d", character, n, total)
		}
	}
}

func TestNoPasswordWithoutRandomness(t *testing.T) {
	broken := errors.New("broken")
	if got, err := (Password{}).draw(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("drew %q, %v", got, err)
	}
}
