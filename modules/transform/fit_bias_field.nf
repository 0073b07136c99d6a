process FIT_BIAS_FIELD {
    tag "${subject}"
    label 'process_single'

    input:
    val subject
    tuple path(volume), path(volume_manifest)
    path plan
    val flags

    output:
    path 'published/correct_bias_field/bias_field.json', emit: bias
    path "published/correct_bias_field/${subject}_corrected.png", emit: picture
    path 'blocks.csv', emit: blocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    fit_bias_field.py ${flags} --volume ${volume} --plan ${plan} --bias published/correct_bias_field/bias_field.json --picture published/correct_bias_field/${subject}_corrected.png --block_list blocks.csv
    """

    stub:
    """
    stub.sh published/correct_bias_field/bias_field.json published/correct_bias_field/${subject}_corrected.png 'blocks.csv=id,block\\n0.0-0,0.0-0\\n1.0-0,1.0-0' fit_bias_field.provenance.json
    """
}
