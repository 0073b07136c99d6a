process CHECK_INPUTS {
    label 'process_single'

    input:
    path facts
    path sheet
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    path 'checked.txt', emit: checked
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def samples = sheet ? "--sheet ${sheet}" : ''
    def added = plugins ? "--plugins ${plugins}" : ''
    """
    check_inputs.py ${flags} --facts ${facts} ${samples} ${added} --checked checked.txt
    """

    stub:
    """
    stub.sh checked.txt check_inputs.provenance.json
    """
}
