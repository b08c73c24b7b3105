# Stopgap with the words of the Exchange Management Shell. Each function asks stopgap.exe for JSON and returns objects; what
# counts is decided there.

Set-StrictMode -Version 2.0

$script:Program = Join-Path $env:ProgramFiles 'Stopgap\stopgap.exe'

# What stopgap.exe prints as JSON; its own words as an error where it fails. Exit code 6 is an answer: found wanting.
function Invoke-Stopgap {
    param([Parameter(Mandatory = $true)][string[]]$Arguments)
    if (-not (Test-Path -LiteralPath $script:Program)) {
        throw "$script:Program is not there: run 'stopgap.exe agent install'."
    }
    $said = [System.IO.Path]::GetTempFileName()
    try {
        $answer = & $script:Program @Arguments 2> $said
        $code = $LASTEXITCODE
        if ($code -ne 0 -and $code -ne 6) {
            throw "stopgap $($Arguments -join ' ') ended with $code. $(Get-Content -Raw -LiteralPath $said)"
        }
        if ($answer) { ($answer -join "`n") | ConvertFrom-Json }
    }
    finally {
        Remove-Item -LiteralPath $said -ErrorAction SilentlyContinue
    }
}

function Test-IsThisServer {
    param([string]$Identity)
    -not $Identity -or $Identity -eq $env:COMPUTERNAME -or $Identity -like "$env:COMPUTERNAME.*"
}

function Get-MitigationServer {
    <#
    .SYNOPSIS
    The settings of this server: MitigationsEnabled, MitigationsApplied, MitigationsBlocked.
    #>
    [CmdletBinding()]
    param([Parameter(Position = 0)][string]$Identity)
    if (-not (Test-IsThisServer $Identity)) { throw "$Identity is not this server: run it there." }
    $server = Invoke-Stopgap @('server', 'get', '--local', '--json')
    [pscustomobject]@{
        Name               = $server.name
        MitigationsEnabled = $server.mitigations_enabled
        MitigationsApplied = @($server.mitigations_applied)
        MitigationsBlocked = @($server.mitigations_blocked)
    }
}

function Set-MitigationServer {
    <#
    .SYNOPSIS
    Changes the settings of this server.
    .EXAMPLE
    Set-MitigationServer -MitigationsBlocked @("M1")
    .EXAMPLE
    Set-MitigationServer -MitigationsEnabled $false
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Position = 0)][string]$Identity,
        [Nullable[bool]]$MitigationsEnabled,
        [AllowNull()][AllowEmptyCollection()][string[]]$MitigationsBlocked
    )
    if (-not (Test-IsThisServer $Identity)) { throw "$Identity is not this server: run it there." }
    $arguments = @('server', 'set', '--local')
    if ($PSBoundParameters.ContainsKey('MitigationsEnabled')) {
        $arguments += @('--mitigations-enabled', "$MitigationsEnabled".ToLowerInvariant())
    }
    if ($PSBoundParameters.ContainsKey('MitigationsBlocked')) {
        $arguments += "--mitigations-blocked=$(@($MitigationsBlocked) -join ',')"
    }
    if ($arguments.Count -gt 3 -and $PSCmdlet.ShouldProcess($env:COMPUTERNAME, $arguments -join ' ')) {
        & $script:Program @arguments
        if ($LASTEXITCODE -ne 0) { throw "stopgap $($arguments -join ' ') ended with $LASTEXITCODE." }
    }
}

function Get-Mitigations {
    <#
    .SYNOPSIS
    Server, ID, Type, Description and Status of every mitigation.
    .EXAMPLE
    Get-Mitigations -ExportCSV C:\temp\mitigations.csv
    #>
    [CmdletBinding()]
    param([Parameter(Position = 0)][string]$Identity, [string]$ExportCSV)
    if (-not (Test-IsThisServer $Identity)) { throw "$Identity is not this server: run it there." }
    if ($ExportCSV) {
        & $script:Program get-mitigations --export-csv $ExportCSV
        if ($LASTEXITCODE -ne 0) { throw "stopgap get-mitigations ended with $LASTEXITCODE." }
        return
    }
    $server = (Invoke-Stopgap @('server', 'get', '--local', '--json')).name
    $report = Invoke-Stopgap @('status', '--json')
    foreach ($mitigation in @($report.mitigations)) {
        [pscustomobject]@{
            Server      = $server
            ID          = $mitigation.id
            Type        = $mitigation.type
            Description = $mitigation.description
            Status      = $mitigation.status
        }
    }
}

function Test-MitigationServiceConnectivity {
    <#
    .SYNOPSIS
    Whether the feeds can be had and believed.
    #>
    [CmdletBinding()]
    param()
    # It fails where a feed does, and says so in the same JSON.
    $tested = (& $script:Program test-connectivity --json) -join "`n" | ConvertFrom-Json
    [pscustomobject]@{ Result = "$($tested.result)."; Message = $tested.message }
}

Export-ModuleMember -Function Get-MitigationServer, Set-MitigationServer, Get-Mitigations, Test-MitigationServiceConnectivity
