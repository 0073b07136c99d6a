process CHECK_INPUTS {
    label 'process_single'

    input:
    path facts
    path batches
    path sheet
    tuple path(plugins), val(plugins_fingerprint)
    tuple val(role), path(detections, stageAs: 'detections/*'), val(fingerprint)
    val flags

    output:
    path 'checked.txt', emit: checked
    path 'detections.csv', emit: detections, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    def samples = sheet ? "--sheet ${sheet}" : ''
    def added = plugins ? "--plugins ${plugins}" : ''
    def given = detections ? "--cells ${detections} --keys detections.csv" : ''
    """
    check_inputs.py ${flags} --facts ${facts} --batches ${batches} ${samples} ${added} ${given} --checked checked.txt
    """

    stub:
    """
    stub.sh checked.txt ${detections ? "'detections.csv=id,files\\n0-0,0'" : ''} check_inputs.provenance.json
    """
}
