/**
 * The scripts of the shells. Each asks `ngrokd completion words` for the
 * candidates: a line for each, with its meaning behind a space. `:files` alone
 * on a line means that names of files fit. No script evaluates what was typed.
 */
export const scripts = {
  bash: `# bash completion for ngrokd. In ~/.bashrc: source <(ngrokd completion bash)
_ngrokd() {
  local words=() n=0 i word line cut
  # bash splits words at ":" and "=".
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((n > 0)) && [[ $word == [:=]* || \${words[n - 1]} == *[:=] ]]; then
      words[n - 1]+=$word
    else
      words[n]=$word
      n=$((n + 1))
    fi
  done
  word=\${words[n - 1]}
  cut=\${word%"\${word##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "\${word#"$cut"}")
    else
      line=\${line%% *}
      COMPREPLY+=("\${line#"$cut"}")
    fi
  done < <("$1" completion words -- "\${words[@]}" 2>/dev/null)
}
complete -F _ngrokd ngrokd
`,
  zsh: `#compdef ngrokd
# zsh completion for ngrokd. In ~/.zshrc, behind compinit: source <(ngrokd completion zsh)
_ngrokd() {
  local line
  local -a found
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    found+=("\${\${line%% *}//:/\\\\:}:\${line#* }")
  done < <("\${(Q)words[1]}" completion words -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)
  _describe ngrokd found
}
if [[ $funcstack[1] == _ngrokd ]]; then
  _ngrokd "$@"
else
  compdef _ngrokd ngrokd
fi
`,
  fish: `# fish completion for ngrokd. In ~/.config/fish/completions/ngrokd.fish
function __ngrokd_words
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in (command $program completion words -- $words "$last" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$last"
        else
            string replace ' ' \\t -- $line
        end
    end
end
complete -c ngrokd -f -a '(__ngrokd_words)'
`,
  powershell: `# PowerShell completion for ngrokd. In $PROFILE: ngrokd completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName ngrokd -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @($commandAst.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
    Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
  # Some versions drop empty arguments.
  $new = @()
  if ($wordToComplete -eq '') { $new = @('--new') }
  & ngrokd completion words @new -- @words 2>$null | ForEach-Object {
    if ($_ -ne ':files') {
      $word, $about = $_ -split ' ', 2
      if (-not $about) { $about = $word }
      [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $about)
    }
  }
}
`,
} as const;

export type Shell = keyof typeof scripts;
